"""kmodel v3 files: what is written is read, real files survive, broken ones are named."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from edgeark.export.kpu import (
    Activation,
    BatchNorm,
    Kmodel,
    KmodelError,
    KpuConv,
    Output,
    Pool,
    Simulator,
    describe,
    read_kmodel,
    write_kmodel,
)
from edgeark.export.kpu import elementwise as e
from edgeark.export.kpu.maps import CPU_LAYERS
from edgeark.export.kpu.registers import check_derived, pack_registers, unpack_registers
from edgeark.export.kpu.tables import HIGHEST, LOWEST
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kpu_cases import PUBLISHED, conv, digit_net, operator_net, published_file

LAYER_HEADERS = 28 + 8  # of a kmodel with one output


@pytest.fixture(params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> bytes:
    path = published_file(request.param)
    if not path.is_file():
        pytest.skip(f"needs {path.name}; $EDGEARK_CONFORMANCE may name its folder")
    return path.read_bytes()


def test_published_files_survive_to_the_byte(published: bytes) -> None:
    assert write_kmodel(read_kmodel(published)) == published


@pytest.mark.parametrize("build", [digit_net, operator_net])
def test_what_was_written_is_read(build: Callable[..., Kmodel]) -> None:
    kmodel = build()
    data = write_kmodel(kmodel)
    again = read_kmodel(data)
    assert write_kmodel(again) == data
    assert again.outputs == kmodel.outputs and again.main_bytes == kmodel.main_bytes
    for found, wanted in zip(again.layers, kmodel.layers, strict=True):
        assert type(found) is type(wanted)
        for name, value in vars(wanted).items():
            if isinstance(value, BatchNorm | Activation):
                for column, numbers in vars(value).items():
                    assert np.array_equal(getattr(getattr(found, name), column), numbers)
            elif isinstance(value, np.ndarray):
                assert np.array_equal(getattr(found, name), value)
            elif isinstance(value, float):
                assert getattr(found, name) == np.float32(value)
            elif name in vars(found) and name != "flags":
                assert getattr(found, name) == value, name


def test_every_layer_is_in_one_of_the_nets() -> None:
    kinds = {type(layer) for net in (digit_net(), operator_net()) for layer in net.layers}
    assert kinds == {*CPU_LAYERS.values(), KpuConv}


def test_a_convolutions_blocks_are_aligned() -> None:
    data = write_kmodel(digit_net())
    count = struct.unpack_from("<I", data, 12)[0]
    position, seen = LAYER_HEADERS + 8 * count, 0
    for index in range(count):
        kind, size = struct.unpack_from("<2I", data, LAYER_HEADERS + 8 * index)
        assert position % 8 == 0 or index == 0
        if kind == 10240:
            offsets = struct.unpack_from("<4I", data, position + 8)
            assert [o % a for o, a in zip(offsets, (8, 128, 128, 256), strict=True)] == [0] * 4
            assert list(offsets) == sorted(offsets) and offsets[-1] + 144 == position + size
            seen += 1
        position += size
    assert position == len(data) and seen == 4
    assert len(data) % 8 == 0


@pytest.mark.parametrize("change", [-8, -1, 1, 8])
def test_files_may_end_a_little_early_or_late(change: int) -> None:
    kmodel = digit_net()
    kmodel = replace(kmodel, layers=kmodel.layers[:-1], outputs=(Output(0, 96),))
    last = replace(kmodel.layers[-1])
    data = write_kmodel(replace(kmodel, layers=(*kmodel.layers, last)))
    if change > 0:
        data += bytes(change)
    else:  # the last body's header promises bytes that carry nothing
        at = LAYER_HEADERS + 8 * len(kmodel.layers) + 4
        size = struct.unpack_from("<I", data, at)[0]
        data = data[:at] + struct.pack("<I", size - change) + data[at + 4 :]
    assert len(read_kmodel(data).layers) == len(kmodel.layers) + 1


def test_the_published_registers_of_known_layers() -> None:
    """The words of two convolutions in published files."""
    rng = np.random.default_rng(0)
    layer = conv(
        *(rng, (16, 3, 3, 3)),
        **{"src_row": 0, "dst_row": 0x7100, "height": 256, "width": 320},
        **{"pool": Pool.LEFT_TOP_2, "pad_value": 0, "arg_x": -(154 << 15), "shr_x": 15},
        **{"arg_w": 0, "arg_add": 0},
    )
    words = [int(word) for word in np.frombuffer(pack_registers(layer), "<u8")]
    assert words == [
        *(0x0, 0x710000000000, 0xF000F00000002, 0x1FC9F0003FD3F, 0xF0451, 0xD80001),
        *(0x0, 0x90050500, 0x130180, 0xB30000000000F0, 0x0, 0x4FFFF4FFF0000),
    ]
    layer = conv(  # two loads of weights
        *(rng, (64, 64, 3, 3)),
        **{"src_row": 0, "dst_row": 0x7C00, "height": 32, "width": 32},
        **{"pad_value": 0, "arg_x": -(129 << 15), "arg_w": 0, "arg_add": 0},
    )
    words = [int(word) for word in np.frombuffer(pack_registers(layer), "<u8")]
    assert words == [
        *(0x0, 0x7C0000000000, 0x34003F0000003F, 0x7C1F00007C1F, 0xF0401, 0x3BA00003),
        *(0x0, 0xA0010020, 0x210020, 0xBF8000000000F0, 0x0, 0xFFFF03FF0000),
    ]


sides = st.integers(4, 70)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 1000),
    kernel=st.sampled_from([1, 3]),
    depthwise=st.booleans(),
    channels=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(sides, sides),
    pool=st.sampled_from(Pool),
    zero=st.integers(-(1 << 23), (1 << 23) - 1),
    arg_add=st.integers(-(1 << 39), (1 << 39) - 1),
)
def test_registers_say_what_the_convolution_is(
    seed: int,
    kernel: int,
    depthwise: bool,
    channels: tuple[int, int],
    size: tuple[int, int],
    pool: Pool,
    zero: int,
    arg_add: int,
) -> None:
    rng = np.random.default_rng(seed)
    layer = conv(
        *(rng, (channels[0], 1 if depthwise else channels[1], kernel, kernel)),
        **{"src_row": seed, "dst_row": 32767 - seed, "height": size[0], "width": size[1]},
        **{"depthwise": depthwise, "pool": pool, "pad_value": seed % 256},
        **{"arg_x": zero, "arg_w": -zero - 1, "shr_w": 3, "arg_add": arg_add},
    )
    words = pack_registers(layer)
    found = unpack_registers(words)
    check_derived(layer, words)
    for name in (*("src_row", "dst_row", "height", "width", "depthwise", "pool", "pad_value"),
                 *("arg_x", "shr_x", "arg_w", "shr_w", "arg_add", "kernel")):  # fmt: skip
        assert getattr(found, name) == getattr(layer, name), name
    assert found.weights_shape == layer.weights.shape


integers = st.integers


@given(
    rows=st.lists(
        st.tuples(
            integers(-(1 << 23), (1 << 23) - 1),
            integers(0, 15),
            integers(-(1 << 31), (1 << 31) - 1),
            integers(0, 15),
        ),
        min_size=1,
    )
)
def test_batch_normalisation_words(rows: list[tuple[int, int, int, int]]) -> None:
    mul, shift, add, noise = (np.array(column) for column in zip(*rows, strict=True))
    words = np.frombuffer(BatchNorm(mul, shift, add).pack(), "<u8")
    assert not (words >> np.uint64(60)).any()
    noisy = words | noise.astype(np.uint64) << np.uint64(60)  # undefined bits are ignored
    again = BatchNorm.unpack(noisy.tobytes())
    assert np.array_equal([again.mul, again.shift, again.add], [mul, shift, add])


@given(
    rows=st.lists(
        st.tuples(
            integers(LOWEST, HIGHEST),
            integers(-(1 << 15), (1 << 15) - 1),
            integers(0, 255),
            integers(0, 255),
        ),
        min_size=16,
        max_size=16,
    )
)
def test_activation_words(rows: list[tuple[int, int, int, int]]) -> None:
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    data = Activation(*columns).pack()
    assert len(data) == 144
    again = Activation.unpack(data)
    assert np.array_equal([again.x_start, again.mul, again.shift, again.bias], columns)


def test_an_activation_of_few_segments() -> None:
    table = Activation.of([(-5, 3, 2, 10), (100, 0, 0, 255)])
    assert table.x_start[:3].tolist() == [LOWEST, -5, 100]
    assert (np.diff(table.x_start) > 0).all() and table.x_start[-1] == HIGHEST
    with pytest.raises(KmodelError, match="must rise"):
        Activation.of([(5, 1, 0, 0), (5, 1, 0, 0)])
    with pytest.raises(KmodelError, match="at most 15 segments, got 16"):
        Activation.of([(i, 1, 0, 0) for i in range(16)])


def ones(value: int) -> np.ndarray:
    return np.full(1, value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(ones(1 << 23), ones(0), ones(0)), "bn.mul is .* 24 bits hold"),
        (lambda: BatchNorm(ones(1), ones(16), ones(0)), r"bn.shift is 16..16: 4 bits hold 0..15"),
        (lambda: BatchNorm(ones(1), ones(1), np.zeros(2, int)), "bn.add must be 1 integers"),
        (lambda: BatchNorm(np.ones(1), ones(1), ones(1)), "bn.mul must be 1 integers, got float"),
        (lambda: digit_conv(arg_add=1 << 39), "arg_add is .*: 40 bits hold"),
        (lambda: digit_conv(src_row=1 << 15), "src_row is 32768: 15 bits hold 0..32767"),
        (lambda: digit_conv(width=1025), "in_width is 1025: 10 bits hold 1..1024"),
        (lambda: digit_conv(weights=np.zeros((1, 1, 5, 5), np.uint8)), r"got uint8 \[1, 1, 5, 5\]"),
        (lambda: digit_conv(depthwise=True, weights=np.zeros((2, 2, 1, 1), np.uint8)), "depthwise"),
        (lambda: digit_conv(weights=np.zeros((3, 1, 1, 1), np.uint8)), "bn has 2 channels, wei"),
        (lambda: digit_conv(pool=Pool.MAX_4, height=3), "pool MAX_4 leaves nothing of 3x8"),
    ],
)
def test_numbers_that_have_no_room_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(KmodelError, match=message):
        made = make()
        if isinstance(made, KpuConv):
            write_kmodel(Kmodel((made,), (Output(0, 1),), 8))


def digit_conv(**fields: object) -> KpuConv:
    rng = np.random.default_rng(0)
    values = {"src_row": 0, "dst_row": 100, "height": 8, "width": 8, **fields}
    return conv(rng, (2, 1, 1, 1), **values)


GOOD = write_kmodel(digit_net())
BODIES = LAYER_HEADERS + 8 * 12
REGISTERS = BODIES + 24 + 4  # of the first layer, aligned to 8


def changed(offset: int, code: str, value: float) -> bytes:
    data = bytearray(GOOD)
    struct.pack_into(code, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a kmodel"),
        (b"\x03\0\0\0", "has a header of 28 bytes, this has 4"),
        (b"PK\x03\x04" + GOOD, "not a kmodel"),
        (b"LDMK\x04\0\0\0", "a kmodel v4: nncase 0.2 .* MICROPYTHON_KMODEL_V4_SUPPORT.*runs v3"),
        (b"LDMK\x05\0\0\0" + GOOD, "a kmodel v5: nncase 1.x"),
        (b"LDMK\x09\0\0\0", "a kmodel v9: no tool"),
        (GOOD + bytes(9), "9 bytes behind the last layer"),
        (GOOD[:-9], "layer 11 .Softmax.: a body of 16 bytes"),
        (changed(4, "<I", 0), "flags 0 and arch 0"),
        (changed(12, "<I", 0), "0 layers"),
        (changed(12, "<I", 2**32 - 1), "4294967295 layers and 1 outputs"),
        (changed(24, "<I", 2**32 - 1), "12 layers and 4294967295 outputs"),
        (changed(20, "<I", 2**32 - 1), "main memory of 4294967295 bytes"),
        (changed(28, "<I", 472), "output 0: 16 bytes at 472 of 480"),
        (changed(LAYER_HEADERS, "<I", 10239), "layer 0: unknown type 10239"),
        (changed(LAYER_HEADERS + 4, "<I", 20), r"layer 0 \(KpuConv\): a body of 20 bytes"),
        (changed(LAYER_HEADERS, "<I", 12), r"layer 0 \(Dequantize\): a kmodel begins with"),
        (changed(BODIES + 8, "<I", REGISTERS + 4), "registers at .*: no multiple of 8"),
        (changed(BODIES + 12, "<I", 2**31), "weights: 45 bytes at 2147483648"),
        (changed(REGISTERS, "<Q", 4), r"layer 0 \(KpuConv\): full_add is 1: the rest .* it 0"),
        (changed(REGISTERS + 32, "<B", 2), "kernel is 2"),
        (changed(REGISTERS + 32, "<B", 0xF1), "pool is 15"),
        (changed(REGISTERS + 24, "<B", 16), r"\(KpuConv\): in_group is 4: .* makes it 2"),
    ],
)
def test_a_broken_file_is_one_line_that_names_the_place(data: bytes, message: str) -> None:
    with pytest.raises(KmodelError, match=message) as raised:
        read_kmodel(data)
    assert "\n" not in str(raised.value)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes flipped, most of them where structure is; or the end cut off."""
    if rng.random() < 0.15:
        return data[: rng.integers(len(data))]
    broken = bytearray(data)
    starts = [0, *(match.start() for match in re.finditer(rb"\x0f\x00[\x00-\xff]{2}\x00", data))]
    for _ in range(rng.integers(1, 5)):
        near = min(int(rng.choice(starts)) + int(rng.integers(-80, 300)), len(data) - 1)
        place = max(0, near) if rng.random() < 0.8 else int(rng.integers(len(data)))
        broken[place] = rng.integers(256)
    return bytes(broken)


def survives(data: bytes, run: bool) -> str:
    """Read, plan, describe and perhaps run; what is wrong is a KmodelError and nothing else."""
    try:
        kmodel = read_kmodel(data)
        simulator = Simulator(kmodel)
        describe(kmodel)
        if run:
            shape = (1, *simulator.input.shape)
            rng = np.random.default_rng(0)
            simulator.run(rng.integers(0, 256, shape, dtype=np.uint8))
    except KmodelError as error:
        assert "\n" not in str(error)
        return "refused"
    return "ran"


@settings(max_examples=400, deadline=timedelta(seconds=10))
@given(seed=st.integers(0, 2**32), kind=st.sampled_from([digit_net, operator_net]))
def test_a_broken_kmodel_is_refused_or_runs(seed: int, kind: Callable[[], Kmodel]) -> None:
    survives(mutated(write_kmodel(kind()), np.random.default_rng(seed)), run=True)


def test_broken_published_files_are_refused_or_run(published: bytes) -> None:
    rng = np.random.default_rng(len(published))
    ends = [survives(mutated(published, rng), run=index < 3) for index in range(40)]
    assert {"refused", "ran"} == set(ends)


def test_a_layer_of_zero_elements_is_refused() -> None:
    kmodel = digit_net()
    empty = e.Softmax(input=160, output=160, count=0)
    with pytest.raises(KmodelError, match=r"layer 12 \(Softmax\): a tensor of \[0\]"):
        Simulator(replace(kmodel, layers=(*kmodel.layers, empty)))
