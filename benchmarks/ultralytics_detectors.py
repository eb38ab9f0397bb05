"""Ultralytics' side of ``detectors.py``, a process of its own: their exports, and the stopwatch.

``python ultralytics_detectors.py write NAME SIDE FOLDER`` makes a network with random weights,
saves it as ``NAME.pt``, and exports it for each engine twice: as their exporter ships it, which
decodes boxes in the graph, and with raw heads. ``python ultralytics_detectors.py time PAIRS.json``
reads pairs of files and prints how long both take. Their package is under the AGPL: nothing of
edgeark's imports this file's imports.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from in_turn import ratio_quartiles, time_in_turn
from torch import Tensor, nn
from ultralytics_onnx import settle

Run = Callable[[], list[np.ndarray]]
FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "ncnn": "ncnn"}  # theirs by engine


class RawHeads(nn.Module):
    """A box map and a class map a scale, in place of their head's decoding."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.cv2, self.cv3 = head.cv2, head.cv3
        for name in ("f", "i", "type"):  # what their graph looks at
            setattr(self, name, getattr(head, name))

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, ...]:
        pairs = ((b(x), c(x)) for b, c, x in zip(self.cv2, self.cv3, maps, strict=True))
        return tuple(part for pair in pairs for part in pair)


def find_one(folder: Path, pattern: str) -> Path:
    (path,) = folder.rglob(pattern)
    return path


@torch.no_grad()
def write(name: str, side: int, folder: Path) -> None:
    """Each engine's two files under ``folder/ENGINE/{ships,raw}``."""
    import openvino as ov
    from ultralytics import YOLO

    torch.manual_seed(0)
    yolo = YOLO(f"{name}.yaml")
    settle(yolo.model, (1, 3, side, side))
    yolo.save(folder / f"{name}.pt")  # in half precision
    for engine, kind in FORMATS.items():
        written = Path(YOLO(folder / f"{name}.pt").export(format=kind, imgsz=side))
        out = folder / engine / "ships"
        out.parent.mkdir()
        if written.is_dir():
            shutil.move(written, out)
        else:
            out.mkdir()
            shutil.move(written, out / written.name)
    model = YOLO(folder / f"{name}.pt").model.float().eval().fuse()
    model.model[-1] = RawHeads(model.model[-1])
    image = torch.zeros(1, 3, side, side)
    raw = {engine: folder / engine / "raw" for engine in FORMATS}
    for out in raw.values():
        out.mkdir()
    onnx = raw["onnxruntime"] / "model.onnx"
    torch.onnx.export(model, (image,), str(onnx), dynamo=False, opset_version=17)
    ov.save_model(ov.convert_model(onnx), raw["openvino"] / "model.xml", compress_to_fp16=False)
    traced = raw["ncnn"] / "model.pt"
    torch.jit.save(torch.jit.trace(model, image), traced)
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None and spec.submodule_search_locations is not None
    pnnx = Path(spec.submodule_search_locations[0]) / "pnnx"
    subprocess.run([pnnx, traced, f"inputshape=[1,3,{side},{side}]", "fp16=0"], check=True)


def load_onnxruntime(folder: Path, threads: int, image: np.ndarray) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that waits sleeps: it would spin into the other's turn, and count as CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    path = find_one(folder, "*.onnx")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: (image / 255).astype(np.float32)}
    return lambda: session.run(None, feed)


def load_openvino(folder: Path, threads: int, image: np.ndarray) -> Run:
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = core.compile_model(find_one(folder, "*.xml"), "CPU", settings)
    takes_pixels = compiled.inputs[0].element_type == ov.Type.u8  # ours normalises by itself
    feed = image if takes_pixels else (image / 255).astype(np.float32)
    request = compiled.create_infer_request()

    def run() -> list[np.ndarray]:
        request.infer([feed])
        return [request.get_output_tensor(i).data for i in range(len(compiled.outputs))]

    return run


def load_ncnn(folder: Path, threads: int, image: np.ndarray) -> Run:
    import ncnn

    network = ncnn.Net()
    network.opt.num_threads = threads
    network.opt.use_fp16_storage = network.opt.use_fp16_packed = False
    network.opt.use_fp16_arithmetic = False
    param = find_one(folder, "*.ncnn.param")
    network.load_param(str(param))
    network.load_model(str(param.with_suffix(".bin")))
    names = sorted(network.output_names(), key=lambda name: int(name.removeprefix("out")))
    pixels = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    height, width, _ = pixels.shape

    def run() -> list[np.ndarray]:
        mat = ncnn.Mat.from_pixels(pixels, ncnn.Mat.PixelType.PIXEL_RGB, width, height)
        mat.substract_mean_normalize([0.0] * 3, [1 / 255] * 3)
        extractor = network.create_extractor()
        extractor.input(network.input_names()[0], mat)
        return [np.array(extractor.extract(name)[1]) for name in names]

    return run


LOAD = {"onnxruntime": load_onnxruntime, "openvino": load_openvino, "ncnn": load_ncnn}


def measure(pair: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Quartiles of ours / theirs, by wall clock and CPU time; both run once in each round."""
    image = np.random.default_rng(0).integers(0, 256, pair["shape"], np.uint8)
    load = LOAD[pair["engine"]]
    runs = [load(Path(pair[side]), pair["threads"], image) for side in ("ours", "theirs")]
    ours, theirs = ([np.array(a, np.float64) for a in run()] for run in runs)
    error = None
    if pair["equal"]:
        error = max(
            np.abs(a.ravel() - b.ravel()).max() / np.abs(b).max()
            for a, b in zip(ours, theirs, strict=True)
        )
    rounds = time_in_turn(runs, seconds)
    ratios = ratio_quartiles(rounds)
    return {
        "ms": (np.median(rounds[:, :, 0], axis=0) * 1e3).tolist(),
        "wall": ratios[:, 0].tolist(),
        "cpu": ratios[:, 1].tolist(),
        "rounds": len(rounds),
        "error": error,
    }


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        given = json.loads(Path(sys.argv[2]).read_text())
        for pair in given["pairs"]:
            sys.stdout.write(json.dumps(measure(pair, given["seconds"])) + "\n")
            sys.stdout.flush()
