"""A stand-in for RKNN-Toolkit 1.7 and its Lite: it records every call and refuses a wrong one.

Names, order, defaults and values are those of Rockchip's published documents: the user guides of
1.7, "RKNNToolkit2 API Difference With Toolkit1", and the examples of rockchip-linux/rknn-toolkit.
Its "chip" computes the network that it was given, in float32.

``activate`` makes it what ``from rknn.api import RKNN`` finds in another process; settings travel
by environment variables: ``RKNN1_CALLS`` (the record, a JSON line a call), ``RKNN1_BOARD`` (this
process runs on the chip), ``RKNN1_SIMULATOR=0`` (release 1.7.5), ``RKNN1_FAIL`` (a method that
returns -1).
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

CHIPS = ("rk1806", "rk1808", "rk3399pro", "rv1109", "rv1126")
DTYPES = ("asymmetric_affine-u8", "dynamic_fixed_point-i8", "dynamic_fixed_point-i16")
ALGORITHMS = ("normal", "mmse", "kl_divergence", "moving_average")
Values = list[list[float]]


def activate(folder: Path, **settings: object) -> dict[str, str]:
    """Environment variables for a process that shall find the toolkit; ``folder`` is its place."""
    for package, name in (("rknn", "RKNN"), ("rknnlite", "RKNNLite")):
        if name == "RKNNLite" and not settings.get("board"):
            continue
        api = folder / package / "api"
        api.mkdir(parents=True, exist_ok=True)
        (folder / package / "__init__.py").touch()
        (api / "__init__.py").write_text(f"from rknn1_double import {name}\n")
    paths = [str(folder), str(Path(__file__).parent)]
    given = {f"RKNN1_{key.upper()}": str(value) for key, value in settings.items()}
    return {"PYTHONPATH": os.pathsep.join(paths), **given}


def api(after: str = "", to: str = "") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A method of the toolkit, allowed in one of the states ``after``; it leads to ``to``."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(method, eval_str=True)

        @functools.wraps(method)
        def call(self: Any, *arguments: Any, **keywords: Any) -> Any:
            bound = signature.bind(self, *arguments, **keywords)  # TypeError: an unknown name
            given = {name: value for name, value in bound.arguments.items() if name != "self"}
            self._record(method.__name__, given)
            for name, value in given.items():
                TypeAdapter(signature.parameters[name].annotation).validate_python(
                    value, strict=True
                )
            if after:
                states = after.split()
                assert self._state in states, f"{method.__name__} after {self._state or 'nothing'}"
            if os.environ.get("RKNN1_FAIL") == method.__name__:
                sys.stdout.write(f"E {method.__name__}: the stand-in was told to fail\n")
                return -1
            answer = method(self, *arguments, **keywords)
            if to and answer in (0, None):
                self._state = to
            return answer

        return call

    return decorate


class _Runtime:
    """What the toolkit and its Lite share: a model on a chip."""

    _state = ""

    def _record(self, name: str, given: dict[str, Any]) -> None:
        if path := os.environ.get("RKNN1_CALLS"):
            shown = {k: v if k != "inputs" else [i.shape for i in v] for k, v in given.items()}
            with Path(path).open("a") as file:
                file.write(json.dumps([type(self).__name__, name, shown]) + "\n")

    def _init(self, target: str | None) -> int:
        on_board = "RKNN1_BOARD" in os.environ
        assert target is None or (target in CHIPS and target in self._model["platform"])
        if target is None and not on_board and not self._simulator():
            sys.stdout.write("E no simulator: name a target\n")
            return -1
        self._answer = _make_network(self._model)
        return 0

    def _simulator(self) -> bool:
        return False

    def _infer(
        self, inputs: list[np.ndarray], data_type: str | None, data_format: str | None
    ) -> list[np.ndarray]:
        assert data_type in (None, "uint8") and data_format in (None, "nhwc")
        (image,) = inputs
        assert image.dtype == np.uint8 and image.flags["C_CONTIGUOUS"]
        x = image.astype(np.float32)
        mean, std = (np.array(self._model[key][0], np.float32) for key in ("mean", "std"))
        assert x.shape[2] == len(mean), "images are [height, width, channels]"
        if self._model["reorder"] == "2 1 0":
            x = x[..., ::-1]
        return self._answer(((x - mean) / std).transpose(2, 0, 1)[None])


class RKNN(_Runtime):
    """rknn.api.RKNN of 1.7."""

    @api(to="made")
    def __init__(self, verbose: bool = True, verbose_file: str | None = None) -> None:
        pass

    @api(after="made", to="configured")
    def config(
        self,
        batch_size: int = 100,
        caffe_mean_file: str | None = None,
        dtype: str = "float32",
        epochs: int = -1,
        force_gray: bool | None = None,
        input_fitting: str = "scale",
        input_normalization: str | None = None,
        mean_file: str | None = None,
        model_data_format: str = "zone",
        model_quantize: str | None = None,
        optimize: str = "Default",
        quantized_dtype: str = "asymmetric_affine-u8",
        quantized_moving_alpha: float = 0.01,
        quantized_algorithm: str = "normal",
        quantized_divergence_nbins: int = 1024,
        mmse_epoch: int = 3,
        random_brightness: float | None = None,
        random_contrast: float | None = None,
        random_crop: float | None = None,
        random_flip: float | None = None,
        random_mirror: float | None = None,
        reorder_channel: str | None = None,
        restart: bool = False,
        samples: int = -1,
        need_horizontal_merge: bool = False,
        deconv_merge: bool = True,
        conv_mul_merge: bool = True,
        quantized_hybrid: bool = False,
        output_optimize: int = 0,
        remove_tensorflow_output_permute: bool = False,
        optimization_level: int = 3,
        target_platform: str | list | None = None,
        mean_values: Values | None = None,
        std_values: Values | None = None,
        channel_mean_value: str | None = None,
        force_builtin_perm: bool = False,
        do_sparse_network: bool = True,
        merge_dequant_layer_and_output_node: bool = False,
        quantize_input_node: bool = False,
        inputs_scale_range: str | None = None,
    ) -> None:
        platforms = [target_platform] if isinstance(target_platform, str) else target_platform
        assert platforms and set(platforms) <= set(CHIPS)
        assert quantized_dtype in DTYPES and quantized_algorithm in ALGORITHMS
        assert reorder_channel in (None, "0 1 2", "2 1 0")
        assert 0 <= optimization_level <= 3 and batch_size > 0
        assert mean_values and std_values and len(mean_values[0]) == len(std_values[0])
        assert reorder_channel is None or len(mean_values[0]) == 3, "three channels are reordered"
        assert all(v > 0 for v in std_values[0])
        self._batch = batch_size
        self._model = {
            "mean": mean_values,
            "std": std_values,
            "reorder": reorder_channel,
            "platform": platforms,
        }

    @api(after="configured", to="loaded")
    def load_onnx(
        self,
        model: str,
        inputs: list | None = None,
        input_size_list: list[list[int]] | None = None,
        outputs: list | None = None,
    ) -> int:
        import onnx

        proto = onnx.load(model)
        assert proto.ir_version <= 6, "onnx 1.6"
        assert 8 <= proto.opset_import[0].version <= 11
        self._load(model)
        return 0

    @api(after="configured", to="loaded")
    def load_pytorch(
        self,
        model: str,
        input_size_list: list[list[int]] | None = None,
        inputs: list | None = None,
        outputs: list | None = None,
        convert_engine: str = "torch",
    ) -> int:
        assert input_size_list is not None and len(input_size_list[0]) == 3, "without the batch"
        assert input_size_list[0][0] == len(self._model["mean"][0])
        self._load(model)
        return 0

    def load_mxnet(self, symbol: str, params: str, input_size_list: list | None = None) -> int:
        return -1

    @api(after="loaded", to="built")
    def build(
        self,
        do_quantization: bool = True,
        dataset: str = "./dataset.txt",
        pre_compile: bool = False,
        rknn_batch_size: int = -1,
    ) -> int:
        self._model["pre_compile"] = pre_compile
        if do_quantization:
            names = Path(dataset).read_text().split("\n")[:-1]
            assert names and len(names) % self._batch == 0
            shapes = {_read_image(name).shape for name in names}  # from the working directory
            assert len(shapes) == 1 and shapes.pop()[2] == len(self._model["mean"][0])
            self._record("calibrated", {"images": len(names)})
        Path("dropped-by-the-toolkit.json").touch()
        return 0

    @api(after="built running")
    def export_rknn(self, export_path: str) -> int:
        Path(export_path).write_text(json.dumps(self._model))
        return 0

    @api(after="made", to="built")
    def load_rknn(self, path: str, load_model_in_npu: bool = False) -> int:
        self._model = json.loads(Path(path).read_text())
        return 0

    @api(after="built running", to="running")
    def init_runtime(
        self,
        target: str | None = None,
        target_sub_class: str | None = None,
        device_id: str | None = None,
        perf_debug: bool = False,
        eval_mem: bool = False,
        async_mode: bool = False,
        rknn2precompile: bool = False,
    ) -> int:
        return self._init(target)

    @api(after="running")
    def inference(
        self,
        inputs: list,
        data_type: str | None = None,
        data_format: str | None = None,
        inputs_pass_through: list | None = None,
        get_frame_id: bool = False,
    ) -> list:
        return self._infer(inputs, data_type, data_format)

    @api(to="released")
    def release(self) -> None:
        assert self._state != "released", "released twice"

    def _load(self, model: str) -> None:
        self._model |= {"network": Path(model).suffix, "file": str(Path(model).resolve())}
        self._model["content"] = Path(model).read_bytes().hex()

    def _simulator(self) -> bool:
        return os.environ.get("RKNN1_SIMULATOR") != "0" and not self._model["pre_compile"]


class RKNNLite(_Runtime):
    """rknnlite.api.RKNNLite of 1.7."""

    @api(to="made")
    def __init__(self, verbose: bool = False, verbose_file: str | None = None) -> None:
        pass

    load_rknn, init_runtime = RKNN.load_rknn, RKNN.init_runtime
    inference, release = RKNN.inference, RKNN.release


def _read_image(name: str) -> np.ndarray:
    """As the toolkit reads a line of its data set: [height, width, channels]; files as rgb."""
    if name.endswith(".npy"):
        image = np.load(name)
    else:
        from PIL import Image

        image = np.asarray(Image.open(name).convert("RGB"))
    assert image.ndim == 3 and image.dtype == np.uint8
    return image


def _make_network(model: dict[str, Any]) -> Callable[[np.ndarray], list[np.ndarray]]:
    content = bytes.fromhex(model["content"])
    if model["network"] == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda x: session.run(None, {session.get_inputs()[0].name: x})
    import io

    import torch

    network = torch.jit.load(io.BytesIO(content))

    def answer(x: np.ndarray) -> list[np.ndarray]:
        outputs = network(torch.from_numpy(np.ascontiguousarray(x)))
        return [o.detach().numpy() for o in (outputs if isinstance(outputs, tuple) else [outputs])]

    return answer
