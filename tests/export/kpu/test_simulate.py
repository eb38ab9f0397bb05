"""Memory, the CPU's layers one by one, whole kmodels, costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from edgeark.export.kpu import (
    Kmodel,
    KmodelError,
    KpuConv,
    Output,
    Simulator,
    describe,
    read_kmodel,
)
from edgeark.export.kpu import elementwise as e
from edgeark.export.kpu import maps as m
from edgeark.export.kpu.layer import KpuTensor, Layer, MainTensor
from edgeark.export.kpu.memory import Memory
from edgeark.zoo.tasks.images import to_input
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.kpu_cases import PUBLISHED, conv, digit_net, operator_net, published_file
from support.kpu_plain import plain_convolution

# -- memory --


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 140)),
    row=st.integers(0, 50),
)
def test_kpu_ram_has_the_documented_layout(shape: tuple[int, int, int], row: int) -> None:
    channels, height, width = shape
    group, pitch = (4, 16) if width <= 16 else (2, 32) if width <= 32 else (1, 64)
    row_len = -(-width // 64)
    tensor = KpuTensor(row, shape)
    rng = np.random.default_rng(0)
    values = rng.integers(0, 256, (2, *shape), dtype=np.uint8)
    memory = Memory(8, 2)
    memory.write(tensor, values)
    for c, y, x in {(0, 0, 0), (channels - 1, height - 1, width - 1), (channels // 2, 0, 0)}:
        byte = row * 64 + (c // group) * row_len * height * 64
        byte += (c % group) * pitch + y * row_len * 64 + x
        assert memory.kpu[1, byte] == values[1, c, y, x]
    assert np.array_equal(memory.read(tensor), values)
    used = np.flatnonzero(memory.kpu[0]) // 64
    assert used.size == 0 or (row <= used.min() and used.max() < tensor.end)
    assert tensor.rows == row_len * height * -(-channels // min(channels, group))


def test_a_convolution_sends_eight_bytes_at_a_time() -> None:
    rng = np.random.default_rng(0)
    first = conv(rng, (1, 1, 1, 1), src_row=0, dst_row=50, height=5, width=5, main_out=0)
    second = e.Dequantize(input=0, output=32, count=25, scale=1.0, bias=0.0)
    outputs = (Output(32, 100),)
    assert Simulator(Kmodel((first, second), outputs, 132)).outputs[0].shape == (1, 5, 5)
    late = replace(second, count=26)
    with pytest.raises(KmodelError, match=r"layer 1 .*reads 0..26 of main memory, which no layer"):
        Simulator(Kmodel((first, late), outputs, 200))
    neighbour = replace(first, main_out=32)
    destroyed = replace(second, input=32, output=64, count=25)
    Simulator(Kmodel((neighbour, destroyed), (Output(64, 100),), 164))
    again = replace(neighbour, src_row=50, dst_row=0, main_out=8)  # 8..33, and up to 40
    with pytest.raises(KmodelError, match=r"layer 2 .*reads 34..57 of main memory, which no layer"):
        Simulator(
            Kmodel(
                (neighbour, again, replace(destroyed, input=34, count=23)), (Output(64, 92),), 164
            )
        )
    with pytest.raises(KmodelError, match=r"layer 0 .*bytes 0..32 of main memory, which has 30"):
        Simulator(Kmodel((first,), (Output(0, 25),), 30))


def net_of(*layers: Layer, main_bytes: int = 1000) -> Kmodel:
    """A convolution that leaves [2, 8, 8] bytes at 0, and what follows."""
    first = conv(
        *(np.random.default_rng(0), (2, 1, 1, 1)),
        **{"src_row": 0, "dst_row": 50, "height": 8, "width": 8, "main_out": 0},
    )
    return Kmodel((first, *layers), (Output(0, 128),), main_bytes)


def second(**fields: int) -> KpuConv:
    values = {"src_row": 50, "dst_row": 0, "height": 8, "width": 8, **fields}
    return conv(np.random.default_rng(0), (2, 2, 1, 1), **values)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (second(src_row=51), "reads maps 8 wide in rows 51..59 of KPU RAM, where no layer"),
        (second(width=20), "reads maps 20 wide in rows 50..58"),
        (second(dst_row=55), "writes rows 55..63 of KPU RAM over its own input 50..58"),
        (second(dst_row=32764), "rows 32764..32772 of KPU RAM, which has 32768"),
        (
            e.Dequantize(input=0, output=0, count=128, scale=1.0, bias=0.0),
            "writes 0..512 over its own input 0..128",
        ),
        (
            e.Dequantize(input=0, output=130, count=128, scale=1.0, bias=0.0),
            "float32 at 130, which is no multiple of 4",
        ),
        (
            e.Requantize(input=4, output=0, count=100, table=np.zeros(256, np.uint8)),
            "writes 0..100 over its own input 4..104",
        ),
        (e.Softmax(input=128, output=256, count=4), "reads 128..144 of main memory, which no"),
        (
            m.Upload(input=0, kpu_row=32767, width=8, height=8, channels=2),
            "rows 32767..32775 of KPU RAM",
        ),
        (
            m.QuantizedMaxPool(
                **{"input": 0, "output": 128, "in_width": 8, "in_height": 8, "in_channels": 2},
                **{"out_width": 9, "out_height": 4, "out_channels": 2, "kernel_width": 2},
                **{"kernel_height": 2, "stride_width": 1, "stride_height": 2},
                **{"pad_width": 0, "pad_height": 0},
            ),
            "kernel_width 2, stride_width 1 and pad_width 0 put windows beside the 8 pixels",
        ),
    ],
)
def test_what_cannot_work_is_found_before_it_runs(layer: Layer, message: str) -> None:
    with pytest.raises(KmodelError, match=message) as raised:
        Simulator(net_of(layer))
    assert str(raised.value).startswith(f"layer 1 ({type(layer).__name__}): ")


def test_an_output_that_no_layer_writes_is_named() -> None:
    kmodel = net_of()
    with pytest.raises(KmodelError, match=r"output 0: no layer writes all of 0\.\.132"):
        Simulator(replace(kmodel, outputs=(Output(0, 132),)))
    two = Simulator(replace(kmodel, outputs=(Output(0, 64), Output(64, 64))))
    found = two.run(np.zeros((1, 1, 8, 8), np.uint8))
    assert [o.shape for o in found] == [(1, 64), (1, 64)]


def test_images_of_another_shape_are_refused() -> None:
    simulator = Simulator(net_of())
    for images in (np.zeros((1, 3, 8, 8), np.uint8), np.zeros((1, 1, 8, 8), np.float32)):
        with pytest.raises(ValueError, match=r"takes uint8 \[N, 1, 8, 8\]"):
            simulator.run(images)


# -- the CPU's layers, one by one: batch of one, worked out by hand --

F = np.float32
WINDOW = {
    **{"input": 0, "output": 0, "in_width": 3, "in_height": 2, "in_channels": 1},
    **{"out_width": 2, "out_height": 1, "out_channels": 1, "kernel_width": 2, "kernel_height": 2},
    **{"stride_width": 2, "stride_height": 2, "pad_width": 0, "pad_height": 0},
}
IO = {"input": 0, "output": 0}
MAP = [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize(
    ("layer", "inputs", "wanted"),
    [
        (e.Add(input_a=0, input_b=0, output=0, count=2), [[1, 2], [3, 5]], [4, 7]),
        (e.Quantize(**IO, count=5, scale=2.0, bias=1.0), [[2, 4, 0, -1, 900]], [1, 2, 0, 0, 255]),
        (e.Dequantize(**IO, count=2, scale=0.5, bias=-3.0), [[0, 255]], [-3, 124.5]),
        (e.Requantize(**IO, count=2, table=np.arange(255, -1, -1)), [[0, 250]], [255, 5]),
        (
            e.ChannelwiseDequantize(
                **IO, channels=2, channel_size=2, scales=np.array([[1, 0], [2, 1]], F)
            ),
            [[[3, 4], [5, 6]]],
            [[3, 4], [11, 13]],
        ),
        (e.L2Normalize(**IO, count=2), [[3, -4]], [0.6, -0.8]),
        (e.L2Normalize(**IO, count=2), [[0, 0]], [0, 0]),
        (e.Softmax(**IO, count=3), [[1000, 1000, -1000]], [0.5, 0.5, 0]),
        (e.Logistic(**IO, count=3), [[0, 1000, -1000]], [0.5, 1, 0]),
        (
            m.GlobalAveragePool(**IO, kernel_size=4, channels=2),
            [[[1, 2, 3, 6], [0, 0, 0, 1]]],
            [3, 0.25],
        ),
        (m.QuantizedMaxPool(**WINDOW), [MAP], [[[5, 6]]]),
        (m.AveragePool(**WINDOW), [MAP], [[[3, 4.5]]]),
        (
            m.AveragePool(**{**WINDOW, "pad_width": 1, "pad_height": 1}),
            [MAP],
            [[[1, 2.5]]],
        ),
        (
            m.FullyConnected(
                **{**IO, "in_channels": 2, "out_channels": 2, "activation": 2},
                **{"weights": np.array([[1, 2], [3, 4]], F), "bias": np.array([0, -8], F)},
            ),
            [[1, 1]],
            [3, 0],
        ),
        (
            m.QuantizedConcat(output=0, input_count=2, ranges=np.array([[0, 2], [9, 1]])),
            [[7, 8], [9]],
            [7, 8, 9],
        ),
        (
            m.Flatten(**IO, width=2, height=1, channels=2),
            [[[[1, 2]], [[3, 4]]]],
            [[[1, 3], [2, 4]]],
        ),
        (
            m.ResizeNearest(**IO, width=2, height=2, channels=1, out_width=3, out_height=1),
            [[[[1, 2], [3, 4]]]],
            [[[1, 1, 2]]],
        ),
        (m.RemovePadding(**IO, channels=2), [np.arange(32).reshape(2, 16)], [0, 16]),
        (
            e.QuantizedAdd(
                **{"input_a": 0, "input_b": 0, "output": 0, "count": 3},
                **{"a_offset": -10, "a_mul": 3, "a_shift": 1, "b_offset": 0, "b_mul": 4},
                **{"b_shift": 2, "out_offset": 5, "out_mul": 1, "out_shift": 1},
            ),
            [[10, 11, 200], [0, 0, 255]],
            [5, 6, 255],
        ),
    ],
)
def test_layers_of_the_cpu(layer: Layer, inputs: list, wanted: list) -> None:
    def dtype(tensor: object) -> str:
        assert isinstance(tensor, MainTensor)
        return tensor.dtype

    arrays = [np.array([x], dtype(t)) for x, t in zip(inputs, layer.reads(), strict=True)]
    with np.errstate(over="ignore"):
        found = layer.compute(*arrays)
    output = layer.writes()[0]
    assert found.astype(dtype(output)).reshape(output.shape).ravel().tolist() == pytest.approx(
        np.ravel(wanted).tolist(), rel=1e-6
    )
    assert layer.problem() is None


@pytest.mark.parametrize(
    ("value", "shift", "wanted"),
    [(5, 0, 5), (5, 1, 3), (4, 1, 2), (-4, 1, -2), (-5, 1, -4), (-5, 2, -3), (7, 2, 2)],
)
def test_carry_shift(value: int, shift: int, wanted: int) -> None:
    assert e.carry_shift(np.array([value]), shift).tolist() == [wanted]


def test_add_padding_and_remove_padding_are_inverse() -> None:
    maps = m.AddPadding(input=0, kpu_row=0, channels=3).compute(np.array([[1, 2, 3]], np.uint8))
    assert maps[0, :, 0, 0].tolist() == [1, 2, 3] and maps.sum() == 6
    packed = maps.reshape(1, 3, 16)
    assert m.RemovePadding(input=0, output=0, channels=3).compute(packed).tolist() == [[1, 2, 3]]


# -- whole kmodels --


@pytest.mark.parametrize("build", [digit_net, operator_net])
def test_a_batch_gives_what_each_image_gives(build: Callable[[], Kmodel]) -> None:
    simulator = Simulator(build())
    images = np.random.default_rng(0).integers(0, 256, (70, *simulator.input.shape), np.uint8)
    together = simulator.run(images)
    for index in (0, 63, 64, 69):
        alone = simulator.run(images[index : index + 1])
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[index], b[0], rtol=1e-5, atol=1e-7)


def test_a_trace_shows_every_layer() -> None:
    kmodel = digit_net()
    simulator = Simulator(kmodel)
    image = np.random.default_rng(0).integers(0, 256, (1, 1, 16, 16), np.uint8)
    steps = list(simulator.trace(image))
    assert [layer for layer, _ in steps] == list(kmodel.layers)
    assert np.array_equal(steps[0][1][0], plain_convolution(kmodel.layers[0], image[0]))  # type: ignore[arg-type]
    dequantized = steps[3][1]
    assert dequantized.shape == (1, 6, 4, 4)  # as the convolution before it left it
    assert np.array_equal(steps[-1][1], simulator.run(image)[0])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_run_to_the_last_layer(name: str) -> None:
    path = published_file(name)
    if not path.is_file():
        pytest.skip(f"needs {path.name}; $EDGEARK_CONFORMANCE may name its folder")
    simulator = Simulator(read_kmodel(path.read_bytes()))
    shape = simulator.input.shape
    rng = np.random.default_rng(0)
    images = np.stack([rng.integers(0, 256, shape, np.uint8), np.full(shape, 128, np.uint8)])
    for output in simulator.run(images):
        assert output.dtype == np.float32 and np.isfinite(output).all()
        assert output.std() > 0 and not np.array_equal(output[0], output[1])


@pytest.mark.parametrize(
    ("name", "anchors", "kind"), [("yolo_face_detect", 9, 0), ("voc20_detect", 5, 14)]
)
def test_published_detectors_see_the_officer(name: str, anchors: int, kind: int) -> None:
    """A portrait that matplotlib ships: the face, and class 14 of VOC, a person.

    Nothing of the vendor's code is involved, so that a face is found where it is says that layout,
    arithmetic and tables are read right.
    """
    path = published_file(name)
    portrait = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    for needed in (path, portrait):
        if not needed.is_file():
            pytest.skip(f"needs {needed.name}")
    simulator = Simulator(read_kmodel(path.read_bytes()))
    pixels = np.asarray(Image.open(portrait).convert("RGB"))
    pixels = np.pad(pixels, ((0, 0), (119, 119), (0, 0)))  # from 512x600 to the input's 5:4
    (output,) = simulator.run(to_input(pixels, simulator.input.shape[1:], 3))  # type: ignore[arg-type]
    boxes = output[0].reshape(anchors, -1, 8, 10)  # x, y, w, h, objectness, classes
    anchor, row, column = np.unravel_index(boxes[:, 4].argmax(), boxes[:, 4].shape)
    found = boxes[anchor, :, row, column]
    x, y, score = 1 / (1 + np.exp(-found[[0, 1, 4]]))
    assert score > 0.8
    assert found[5:].argmax() == kind
    assert 0.45 < (column + x) / 10 < 0.6 and 0.2 < (row + y) / 8 < 0.6
    noise = np.random.default_rng(0).integers(0, 256, (1, *simulator.input.shape), np.uint8)
    (output,) = simulator.run(noise)
    assert output[0].reshape(anchors, -1, 8, 10)[:, 4].max() < 0


def test_the_package_needs_numpy_alone() -> None:
    code = "import sys, edgeark.export.kpu; print(*({'torch', 'onnx', 'PIL'} & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == []


def test_costs() -> None:
    rows = describe(digit_net())
    assert [row.place for row in rows].count("KPU") == 4
    assert [row.macs for row in rows if row.macs] == [
        *(16 * 16 * 9 * 5, 8 * 8 * 9 * 5, 8 * 8 * 5 * 6, 4 * 4 * 6 * 7, 7 * 4)
    ]
    first = rows[0]
    assert (first.kind, first.input_shape, first.output_shape) == (
        *("KpuConv", (1, 16, 16), (5, 8, 8)),
    )
    assert first.constant_bytes == 45 + 5 * 8 + 144
    assert first.kpu_bytes == (16 + 2 * 8) * 64
    assert rows[3].main_bytes == 96 + 4 * 96  # Dequantize: bytes in, floats out
    assert rows[-1].main_bytes == 16 and rows[-1].kpu_bytes == 0


def test_what_a_later_layer_needs_counts_as_used() -> None:
    """The fourth layer reads what the first wrote; the output lies in main memory throughout."""
    kmodel = net_of(second(), second(src_row=0, dst_row=100), second(dst_row=200))
    rows = describe(kmodel)
    assert [row.kpu_bytes // 64 for row in rows] == [16, 16, 24, 16]
    assert [row.main_bytes for row in rows] == [128] * 4
