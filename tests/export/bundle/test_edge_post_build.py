"""The C library of board programs on other machines, under sanitizers, with wrong arguments."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_float, c_int32, c_size_t, c_uint8
from pathlib import Path

import numpy as np
import pytest
from support.edge_post_c import (
    ARGUMENT,
    MEMORY,
    NULL,
    OK,
    SHAPE,
    SOURCES,
    STRICT,
    Box,
    Class,
    Found,
    Frame,
    Image,
    Input,
    Library,
    Map,
    Tensor,
    c_sources,
    compiler,
    run_command,
)

FUZZ = Path(__file__).parents[2] / "support" / "edge_post_fuzz.c"
SANITIZERS = [
    "-fsanitize=address,undefined,float-cast-overflow",
    "-fno-sanitize-recover=all",
    "-g",
    "-O1",
]
CORTEX_M4 = ["-Os", "-mcpu=cortex-m4", "-mthumb", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"]
# Bytes of code and constants, without libm's expf, log and rint: 9,132 with GCC 12.
CORTEX_TEXT = 10 * 1024
CORTEX_STACK = 2048  # bytes of a function's own frame


def build_fuzzer(cc: str, path: Path, *options: str) -> Path:
    run_command(cc, *STRICT, *options, f"-I{SOURCES}", FUZZ, *c_sources(), "-o", path, "-lm")
    return path


@pytest.fixture(scope="module")
def totals(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """What the random calls add up to on this machine."""
    cc = compiler("gcc", "gcc libc6-dev")
    fuzzer = build_fuzzer(cc, tmp_path_factory.mktemp("fuzz") / "fuzz", "-O2")
    return np.array(run_command(fuzzer, 60, 1).split(), float)


def test_random_calls_touch_no_foreign_memory(tmp_path: Path) -> None:
    fuzzer = build_fuzzer(compiler("gcc", "gcc libc6-dev"), tmp_path / "fuzz", *SANITIZERS)
    assert len(run_command(fuzzer, 400, 3).split()) == 8


@pytest.mark.parametrize("machine", ["aarch64", "riscv64"])
def test_other_machines_give_the_same(machine: str, tmp_path: Path, totals: np.ndarray) -> None:
    debian = {"aarch64": "arm64"}.get(machine, machine)
    cc = compiler(f"{machine}-linux-gnu-gcc", f"gcc-{machine}-linux-gnu libc6-dev-{debian}-cross")
    emulator = compiler(f"qemu-{machine}", "qemu-user")
    fuzzer = build_fuzzer(cc, tmp_path / "fuzz", "-O2", "-static")
    found = np.array(run_command(emulator, fuzzer, 60, 1).split(), float)
    np.testing.assert_allclose(found, totals, rtol=1e-4)


def test_a_microcontroller_has_room_for_it(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Nor does it need a heap, or memory that is set up before it runs."""
    cc = compiler("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    needed, made, size = set(), set(), np.zeros(3, int)
    for source in c_sources():
        out = (tmp_path / source.name).with_suffix(".o")
        run_command(cc, *STRICT, *CORTEX_M4, "-fstack-usage", "-c", source, "-o", out)
        size += [int(n) for n in run_command("arm-none-eabi-size", out).splitlines()[1].split()[:3]]
        for line in run_command("arm-none-eabi-nm", out).splitlines():
            *_, kind, name = line.split()
            (needed if kind == "U" else made).add(name)
        stack = [line.split()[-2:] for line in out.with_suffix(".su").read_text().splitlines()]
        assert all(kind == "static" for _, kind in stack)
        assert max(int(own) for own, _ in stack) <= CORTEX_STACK
    text, data, bss = size
    record_property("text_bytes", int(text))
    assert 0 < text <= CORTEX_TEXT
    assert (data, bss) == (0, 0)
    outside = {name for name in needed - made if not name.startswith("__aeabi_")}
    assert outside <= {"expf", "log", "logf", "rint", "rintf", "memcpy", "memset"}


def test_the_header_is_cpps_too(tmp_path: Path) -> None:
    cc = compiler("g++", "g++")
    (tmp_path / "main.cpp").write_text(
        '#include "edge_post.h"\nint main() { return ep_status_text(EP_OK) == nullptr; }\n'
    )
    objects = []
    for source in c_sources():
        objects.append((tmp_path / source.name).with_suffix(".o"))
        run_command(compiler("gcc", "gcc"), "-c", source, "-o", objects[-1])
    strict = ["-std=c++17", "-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{SOURCES}"]
    program = tmp_path / "main"
    run_command(cc, *strict, tmp_path / "main.cpp", *objects, "-o", program, "-lm")
    run_command(program)


# Arguments. A change of one field of a valid call, and the status that it gives.


def test_statuses_have_words(edge_post: Library) -> None:
    words = {edge_post.raw.ep_status_text(status) for status in (OK, NULL, ARGUMENT, SHAPE, MEMORY)}
    assert len(words) == 5 and edge_post.raw.ep_status_text(99) == b"unknown status"


@pytest.mark.parametrize("size", [(0, 5, 5, 5), (5, -1, 5, 5), (5, 5, 65536, 5), (5, 5, 5, 0)])
def test_sizes_out_of_range_make_no_frame(edge_post: Library, size: tuple[int, ...]) -> None:
    frame = Frame(x=123)
    assert edge_post.raw.ep_letterbox(*size, 0, byref(frame)) == ARGUMENT
    assert edge_post.raw.ep_stretch(*size, byref(frame)) == ARGUMENT
    assert frame.x == 123
    assert edge_post.raw.ep_letterbox(5, 5, 5, 5, 2, byref(frame)) == ARGUMENT
    assert edge_post.raw.ep_letterbox(5, 5, 5, 5, 0, None) == NULL


@pytest.mark.parametrize(
    ("which", "field", "value", "status"),
    [
        ("image", "pixels", None, NULL),
        ("image", "bytes", 104, MEMORY),
        ("image", "bytes", 0, MEMORY),
        ("image", "row_bytes", 14, MEMORY),
        ("image", "row_bytes", 2**63, MEMORY),
        ("image", "width", 6, SHAPE),
        ("image", "height", 6, SHAPE),
        ("image", "channels", 4, ARGUMENT),
        ("image", "order", 2, ARGUMENT),
        ("frame", "x", -1, ARGUMENT),
        ("frame", "y", 3, SHAPE),
        ("frame", "width", 9, SHAPE),
        ("frame", "input_height", 65536, ARGUMENT),
        ("input", "data", None, NULL),
        ("input", "data", 2, MEMORY),
        ("input", "count", 8 * 8 * 3 - 1, MEMORY),
        ("input", "channels", 2, ARGUMENT),
        ("input", "type", 3, ARGUMENT),
        ("input", "type", 1, ARGUMENT),  # int8 without a scale
        ("input", "layout", -1, ARGUMENT),
        ("input", "order", 7, ARGUMENT),
        ("input", "deviation", (c_float * 3)(1, 1, 0), ARGUMENT),
        ("input", "mean", (c_float * 3)(1, float("nan"), 1), ARGUMENT),
    ],
)
def test_wrong_images_and_inputs_are_refused(
    edge_post: Library, which: str, field: str, value: object, status: int
) -> None:
    pixels = np.zeros(105, np.uint8)
    values = np.full(8 * 8 * 3, 7, np.float32)
    ones = (c_float * 3)(1, 1, 1)
    parts = {
        "image": Image(pixels.ctypes.data, 105, 15, 5, 7, 3, 0),
        "frame": edge_post.frame((7, 5), (8, 8)),
        "input": Input(values.ctypes.data, 192, 0, 0, 3, 0, 114, ones, ones, 0, 0),
    }
    if (field, value) == ("data", 2):
        value = values.ctypes.data + 2
    call = [byref(part) for part in parts.values()]
    setattr(parts[which], field, value)
    assert edge_post.raw.ep_fill_input(*call) == status
    assert (values == 7).all()


def test_missing_images_and_inputs_are_refused(edge_post: Library) -> None:
    frame, image, into = byref(edge_post.frame((7, 5), (8, 8))), byref(Image()), byref(Input())
    assert edge_post.raw.ep_fill_input(None, frame, into) == NULL
    assert edge_post.raw.ep_fill_input(image, None, into) == NULL
    assert edge_post.raw.ep_fill_input(image, frame, None) == NULL


TENSORS = [
    ("data", None, NULL),
    ("count", 5, MEMORY),
    ("type", 3, ARGUMENT),
    ("layout", 2, ARGUMENT),
    ("channels", 0, ARGUMENT),
    ("height", -1, ARGUMENT),
    ("width", 65536, ARGUMENT),
    ("scale", 0.0, ARGUMENT),
    ("scale", float("nan"), ARGUMENT),
    ("scale", float("inf"), ARGUMENT),
    ("zero_point", 128, ARGUMENT),
]


def readers(edge_post: Library) -> dict[str, Callable[[Tensor], int]]:
    """Every function that reads a tensor, with all else right for six channels of one place."""
    frame, found, anchors = edge_post.frame((1, 1), (1, 1)), Found(9), (c_float * 2)(9, 9)
    floats, masks, best = (c_float * 6)(), (c_uint8 * 6)(), (Class * 6)()
    numbers = (c_float(8), c_float(0.5), byref(found.struct))
    box, likely = (Map.of(np.zeros((n, 1, 1)), "int8").tensor for n in (4, 1))
    raw = edge_post.raw
    return {
        "read": lambda t: raw.ep_read(t, floats, c_size_t(6)),
        "softmax": lambda t: raw.ep_softmax(t, floats, c_size_t(6)),
        "top_k": lambda t: raw.ep_top_k(t, 6, best, byref(c_int32())),
        "mask": lambda t: raw.ep_mask(t, c_float(0.5), masks, c_size_t(1)),
        "image_mask": lambda t: raw.ep_logits_to_image_mask(
            t, c_float(0.5), byref(frame), masks, c_size_t(1)
        ),
        "yolov5": lambda t: raw.ep_decode_yolov5(t, anchors, 1, 1, *numbers),
        "yolox": lambda t: raw.ep_decode_yolox(byref(box), byref(likely), t, 6, 0, *numbers),
        "joined": lambda t: raw.ep_decode_yolox(t, None, None, 1, 0, *numbers),
        "dfl": lambda t: raw.ep_decode_dfl(byref(box), t, 6, 0, *numbers),
    }


@pytest.mark.parametrize(("field", "value", "status"), TENSORS)
def test_wrong_tensors_are_refused_by_every_function(
    edge_post: Library, field: str, value: object, status: int
) -> None:
    output = Map.of(np.zeros((6, 1, 1)), "int8")
    for name, read in readers(edge_post).items():
        tensor = output.tensor
        assert read(byref(tensor)) == OK, name
        setattr(tensor, field, value)
        assert read(byref(tensor)) == status, name


def test_floats_are_aligned(edge_post: Library) -> None:
    tensor = Map.of(np.zeros((7, 1, 1)), "float32").tensor
    tensor.data, tensor.channels = (tensor.data or 0) + 2, 6
    assert {read(byref(tensor)) for read in readers(edge_post).values()} == {MEMORY}


def test_buffers_that_are_too_small_are_refused(edge_post: Library) -> None:
    tensor, frame = (
        byref(Map.of(np.zeros((2, 2, 3))).tensor),
        byref(edge_post.frame((5, 4), (2, 3))),
    )
    floats, masks, half = (c_float * 12)(), (c_uint8 * 20)(), c_float(0.5)
    assert edge_post.raw.ep_read(tensor, floats, c_size_t(11)) == MEMORY
    assert edge_post.raw.ep_mask(tensor, half, masks, c_size_t(5)) == MEMORY
    assert edge_post.raw.ep_mask_to_image(masks, 3, 2, frame, masks, c_size_t(19)) == MEMORY
    few = (masks, c_size_t(19))
    assert edge_post.raw.ep_logits_to_image_mask(tensor, half, frame, *few) == MEMORY
    assert edge_post.raw.ep_mask_to_image(masks, 0, 2, frame, masks, c_size_t(20)) == ARGUMENT
    assert edge_post.raw.ep_mask_to_image(None, 3, 2, frame, masks, c_size_t(20)) == NULL
    assert edge_post.raw.ep_top_k(tensor, 1, (Class * 1)(), byref(c_int32())) == SHAPE  # 2x3 places


def test_heads_that_do_not_fit_are_refused(edge_post: Library) -> None:
    """Above all another number of classes than the network has."""
    found, anchors = Found(4), (c_float * 4)(9, 9, 9, 9)
    nan, right = float("nan"), (c_float(8), c_float(0.5), byref(found.struct))
    v5 = byref(Map.of(np.ones((14, 2, 2))).tensor)
    box, likely, classes, other = (
        byref(Map.of(np.ones(shape)).tensor)
        for shape in ((4, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 3))
    )
    raw = edge_post.raw
    assert raw.ep_decode_yolov5(v5, anchors, 2, 80, *right) == SHAPE
    assert raw.ep_decode_yolov5(v5, anchors, 3, 2, *right) == SHAPE
    assert raw.ep_decode_yolov5(v5, anchors, 0, 2, *right) == ARGUMENT
    assert raw.ep_decode_yolov5(v5, anchors, 2, 0, *right) == ARGUMENT
    assert raw.ep_decode_yolov5(v5, None, 2, 2, *right) == NULL
    for stride, threshold in ((0, 0.5), (nan, 0.5), (8, 1.5), (8, -0.1), (8, nan)):
        numbers = (c_float(stride), c_float(threshold), byref(found.struct))
        assert raw.ep_decode_yolov5(v5, anchors, 2, 2, *numbers) == ARGUMENT
        assert raw.ep_decode_yolox(box, likely, classes, 2, 0, *numbers) == ARGUMENT
        assert raw.ep_decode_dfl(box, classes, 2, 0, *numbers) == ARGUMENT
    assert raw.ep_decode_yolox(box, likely, classes, 3, 0, *right) == SHAPE
    assert raw.ep_decode_yolox(box, likely, other, 2, 0, *right) == SHAPE
    assert raw.ep_decode_yolox(box, None, classes, 2, 0, *right) == NULL
    assert raw.ep_decode_yolox(box, likely, classes, 2, 2, *right) == ARGUMENT
    assert raw.ep_decode_dfl(classes, classes, 2, 0, *right) == SHAPE  # not four sides
    assert raw.ep_decode_dfl(box, other, 2, 0, *right) == SHAPE
    assert raw.ep_decode_dfl(box, classes, 2, 0, *right[:2], None) == NULL
    assert found.struct.seen == 0


def test_wrong_candidates_are_refused(edge_post: Library) -> None:
    found, frame, inf = Found(2), byref(edge_post.frame((5, 5), (5, 5))), float("inf")
    one, struct, raw = Box(0, 0, 1, 1, 0.5, 0, 0), byref(found.struct), edge_post.raw
    assert raw.ep_candidates_init(struct, found.memory, 0) == ARGUMENT
    assert raw.ep_candidates_init(struct, None, 2) == NULL
    for field, value in (("x1", inf), ("y2", float("nan")), ("score", float("nan"))):
        wrong = Box(0, 0, 1, 1, 0.5, 0, 0)
        setattr(wrong, field, value)
        assert raw.ep_candidates_add(struct, byref(wrong)) == ARGUMENT
    assert raw.ep_candidates_add(struct, None) == NULL
    assert (found.struct.count, raw.ep_candidates_add(struct, byref(one))) == (0, OK)
    for iou in (-0.1, 1.1, float("nan")):
        assert raw.ep_nms(struct, c_float(iou), 5) == ARGUMENT
    found.struct.count = 3  # more than fit
    assert raw.ep_nms(struct, c_float(0.5), 5) == ARGUMENT
    assert raw.ep_boxes_to_image(frame, struct) == ARGUMENT
    assert raw.ep_boxes_to_image(None, struct) == NULL
