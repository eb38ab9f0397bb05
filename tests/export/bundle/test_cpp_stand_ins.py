"""C++ programs on runtimes that no registry has for this machine: stand-ins of their documented
interfaces answer as ONNX Runtime does, and check the order and the arguments of all calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from edgeark.export.bundle.facts import Facts
from support.stand_ins import Network, make_board, make_network


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Network]:
    made: dict[str, Network] = {}

    def make(model: str) -> Network:
        if model not in made:
            made[model] = make_network(model, tmp_path_factory.mktemp(model))
        return made[model]

    return make


def test_opencv(network: Callable[[str], Network], tmp_path: Path) -> None:
    board = make_board(network("yolov5n"), "opencv", tmp_path)
    calls = board.check()
    assert calls[:4] == ["read model.onnx", "backend 3", "target 0", "winograd 0"]
    assert calls[4:] == ["input", "forward 3"] * 4  # two golden inputs, two photographs
    assert board.check("--winograd", "1", "--threads", "3")[1:5] == [
        *("threads 3", "backend 3", "target 0", "winograd 1"),
    ]


def test_ncnn(network: Callable[[str], Network], tmp_path: Path) -> None:
    """Two files, and channels with gaps between them."""

    def as_converted(facts: Facts) -> Facts:
        names = ("model.ncnn.param", "model.ncnn.bin")
        outputs = [replace(o, name=f"out{i}") for i, o in enumerate(facts.outputs)]
        files = tuple({"name": name, "sha256": "0" * 64} for name in names)
        input_ = replace(facts.input, name="in0")
        return replace(facts, files=files, outputs=tuple(outputs), input=input_)

    board = make_board(network("yolov5n"), "ncnn", tmp_path, as_converted, precision="float16")
    calls = board.check("--threads", "2")
    assert calls[0] == "load_param model.ncnn.param half 111 vulkan 0 threads 2"
    assert calls[1] == "load_model model.ncnn.bin"
    one = ["create_extractor", "input in0 96x64x3", "extract out0", "extract out1", "extract out2"]
    assert calls[2:] == one * 4
    assert "vulkan 1" in board.check("--vulkan", "1")[0]


def as_channels_last(facts: Facts) -> Facts:
    """Maps as LiteRT has them."""
    batch, channels, height, width = facts.input.shape
    shape = (batch, height, width, channels)
    outputs = []
    for output in facts.outputs:
        n, c, h, w = output.shape
        outputs.append(replace(output, shape=(n, h, w, c), layout="NHWC"))
    return replace(
        facts, input=replace(facts.input, layout="NHWC", shape=shape), outputs=tuple(outputs)
    )


def test_litert(network: Callable[[str], Network], tmp_path: Path) -> None:
    board = make_board(network("unet_8"), "litert", tmp_path, as_channels_last)
    calls = board.check("--threads", "3")
    assert calls[:3] == ["model model.onnx", "interpreter threads 3", "allocate"]
    assert calls[3:] == ["invoke"] * 4 + ["delete"]


def test_litert_int8(network: Callable[[str], Network], tmp_path: Path) -> None:
    """Input and outputs have scales and zero points."""
    quantizations = [(0.19, -7), (0.18, 3), (0.2, 0)]

    def quantized(facts: Facts) -> Facts:
        facts = as_channels_last(facts)
        outputs = tuple(
            replace(o, type="int8", scale=scale, zero_point=zero)
            for o, (scale, zero) in zip(facts.outputs, quantizations, strict=True)
        )
        input_ = replace(facts.input, type="int8", scale=1 / 255, zero_point=-128)
        return replace(facts, input=input_, outputs=outputs)

    found = network("yolov5n")
    board = make_board(found, "litert", tmp_path, quantized, quantizations, "int8")
    assert "invoke" in board.check()


@pytest.mark.parametrize("model", ["mobilenet_v1_025", "unet_8", "yolov5n"])
def test_rknn(model: str, network: Callable[[str], Network], tmp_path: Path) -> None:
    """Float16 inside, float32 outside; the NPU's memory, or copies."""
    board = make_board(network(model), "rknn:rk3588", tmp_path, precision="float16")
    size = (board.bundle / "model.onnx").stat().st_size
    count = len(board.facts.outputs)
    calls = board.check()
    assert calls[0] == f"init {size} bytes, flag 0" and calls[-1] == "destroy"
    assert calls[2] == "set_io_mem input 0 type 3 format 1"
    outputs = [call for call in calls if call.startswith("set_io_mem output")]
    assert outputs == [f"set_io_mem output {i} type 0 format 0" for i in range(count)]
    assert calls.count("run") == 4 and "inputs_set" not in calls
    calls = board.check("--copy", "1", "--core-mask", "7")
    once = ["inputs_set", "run", *(f"output {i} float 1" for i in range(count)), "outputs_release"]
    assert calls[1:] == ["core mask 7", *once * 4, "destroy"]


def test_rknn_int8(network: Callable[[str], Network], tmp_path: Path) -> None:
    """Integers are read as they are; rows of the input in whole units of the NPU's."""
    quantizations = [(0.19, -7), (0.18, 3), (0.2, 0)]
    found = network("yolov5n")
    board = make_board(
        found, "rknn:rk3588", tmp_path, quantizations=quantizations, precision="int8"
    )
    calls = board.check()
    assert next(c for c in calls if "output" in c) == "set_io_mem output 0 type 2 format 0"
    wider = board.check(STAND_IN_STRIDE="80")
    assert f"create_mem {160 * 64 * 3}" in wider and f"create_mem {96 * 64 * 3}" in calls
    assert "output 0 float 0" in board.check("--copy", "1")
    assert "output 2 float 1" in board.check("--copy", "1", "--float", "1")
    assert "set_io_mem output 1 type 0 format 0" in board.check("--float", "1")


@pytest.mark.parametrize("model", ["mobilenet_v1_025", "yolov5n"])
def test_cvitek(model: str, network: Callable[[str], Network], tmp_path: Path) -> None:
    """Raw pixels, a plane a channel; outputs are found by their names."""
    board = make_board(network(model), "cvitek:cv181x", tmp_path, precision="int8")
    assert board.check() == ["register model.onnx", *["forward"] * 4, "cleanup"]
