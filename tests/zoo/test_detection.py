"""From raw maps to detections in NumPy, against torch, torchvision and plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from edgeark.zoo import ModelSpec, model_entry
from edgeark.zoo.tasks.boxes import areas, nms
from edgeark.zoo.tasks.detection import (
    decode,
    decode_dfl,
    decode_yolov5,
    decode_yolox,
    detect,
    detect_arrays,
    sigmoid,
)
from edgeark.zoo.tasks.letterbox import Letterbox, letterbox
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import batched_nms, box_convert

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)
CLASSES = ("cat", "dog", "cow")
YOLOX = replace(model_entry("yolox_nano").spec, classes=CLASSES, input_size=(64, 96))
YOLOV5 = replace(YOLOX, anchors=ANCHORS, head="yolov5")
DFL = replace(YOLOX, head="dfl")
BINS = 16
NOTHING = -100.0  # a logit


# Decoding, against the formulas written with torch for whole maps


def reference_yolov5(outputs: list[Tensor], strides: tuple, anchors: tuple) -> Tensor:
    """``[N, places, 5 + classes]``: x1, y1, x2, y2, then each class's score behind a column."""
    parts = []
    for output, stride, sizes in zip(outputs, strides, anchors, strict=True):
        n, _, h, w = output.shape
        y = output.view(n, len(sizes), -1, h, w).permute(0, 1, 3, 4, 2).sigmoid()
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        xy = (y[..., :2] * 2 - 0.5 + torch.stack([columns, rows], -1)) * stride
        wh = (y[..., 2:4] * 2).square() * torch.tensor(sizes, dtype=y.dtype)[:, None, None]
        boxes = box_convert(torch.cat([xy, wh], -1), "cxcywh", "xyxy")
        parts.append(torch.cat([boxes, y[..., 4:5] * y[..., 5:]], -1).flatten(1, 3))
    return torch.cat(parts, 1)


def reference_yolox(outputs: list[Tensor], strides: tuple) -> Tensor:
    parts = []
    for box, objectness, classes, stride in zip(
        outputs[::3], outputs[1::3], outputs[2::3], strides, strict=True
    ):
        _, _, h, w = box.shape
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        xy = (box[:, :2] + torch.stack([columns, rows])) * stride
        wh = box[:, 2:].exp() * stride
        boxes = box_convert(torch.cat([xy, wh], 1).permute(0, 2, 3, 1), "cxcywh", "xyxy")
        scores = (objectness.sigmoid() * classes.sigmoid()).permute(0, 2, 3, 1)
        parts.append(torch.cat([boxes, scores], -1).flatten(1, 2))
    return torch.cat(parts, 1)


def reference_dfl(outputs: list[Tensor], strides: tuple) -> Tensor:
    parts = []
    for box, classes, stride in zip(outputs[::2], outputs[1::2], strides, strict=True):
        _, _, h, w = box.shape
        bins = torch.arange(BINS, dtype=box.dtype)[:, None, None]
        left, top, right, bottom = (
            (side.softmax(1) * bins).sum(1) * stride for side in box.split(BINS, 1)
        )
        rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        x, y = (columns + 0.5) * stride, (rows + 0.5) * stride
        boxes = torch.stack([x - left, y - top, x + right, y + bottom], -1)
        places = torch.cat([boxes, classes.sigmoid().permute(0, 2, 3, 1)], -1)
        parts.append(places.flatten(1, 2))
    return torch.cat(parts, 1)


def reference_candidates(
    places: Tensor, threshold: float, multi_label: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and classes of one image's places."""
    boxes, scores = places[:, :4], places[:, 4:]
    if multi_label:
        place, index = (scores > threshold).nonzero(as_tuple=True)
        return boxes[place], scores[place, index], index
    best, index = scores.max(1)
    keep = best > threshold
    return boxes[keep], best[keep], index[keep]


def random_maps(
    spec: ModelSpec, n: int, classes: int, size: tuple[int, int], seed: int
) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = []
    for i, stride in enumerate(STRIDES):
        h, w = size[0] * 32 // stride, size[1] * 32 // stride
        channels = [4, 1, classes]
        if spec.head == "dfl":
            channels = [4 * BINS, classes]
        elif spec.anchors:
            channels = [len(spec.anchors[i]) * (5 + classes)]
        maps += [rng.normal(0, 1.5, (n, c, h, w)) for c in channels]
    return maps


@settings(max_examples=60)
@given(
    spec=st.sampled_from([YOLOV5, YOLOX, DFL]),
    n=st.integers(1, 3),
    classes=st.integers(1, 5),
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    threshold=st.sampled_from([0.0, 0.001, 0.25, 0.6, 0.9, 0.9999]),
    iou=st.sampled_from([0.1, 0.45, 0.7]),
    multi_label=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_decoding_and_suppression_are_those_of_torch(
    spec: ModelSpec,
    n: int,
    classes: int,
    size: tuple[int, int],
    threshold: float,
    iou: float,
    multi_label: bool,
    seed: int,
) -> None:
    outputs = random_maps(spec, n, classes, size, seed)
    tensors = [torch.from_numpy(output) for output in outputs]
    found = decode(spec, outputs, threshold, multi_label=multi_label)
    if spec.head == "yolov5":
        places = reference_yolov5(tensors, STRIDES, ANCHORS)
    else:
        reference = {"yolox": reference_yolox, "dfl": reference_dfl}[spec.head]
        places = reference(tensors, STRIDES)
    assert len(found) == n
    for boxes, image in zip(found, places, strict=True):
        xyxy, scores, index = reference_candidates(image, threshold, multi_label)
        np.testing.assert_allclose(boxes.xyxy, xyxy.numpy(), atol=1e-9, rtol=1e-12)
        np.testing.assert_allclose(boxes.scores, scores.numpy(), rtol=1e-12)
        assert np.array_equal(boxes.classes, index.numpy())

        # torchvision moves each class by the largest coordinate: negative ones would meet others.
        positive = xyxy - xyxy.min() if len(xyxy) else xyxy
        kept = batched_nms(positive, scores, index, iou)[:300].numpy()
        best = nms(boxes, iou)
        assert np.array_equal(best.xyxy, boxes.xyxy[kept])
        assert np.array_equal(best.classes, boxes.classes[kept])


def joined(nine: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate(nine[i : i + 3], axis=1) for i in (0, 3, 6)]


@pytest.mark.parametrize("classes", [1, 4])
def test_joined_maps_say_the_same_as_separate_ones(classes: int) -> None:
    nine = random_maps(YOLOX, 2, classes, (2, 3), seed=1)
    wanted = decode_yolox(nine, STRIDES, 0.3)
    activated = [m if i % 3 == 0 else sigmoid(m) for i, m in enumerate(nine)]
    assert len(wanted[0]) > 5
    for found in (
        decode_yolox(joined(nine), STRIDES, 0.3),
        decode_yolox(joined(activated), STRIDES, 0.3, activated=True),
        decode_yolox(activated, STRIDES, 0.3, activated=True),
    ):
        for ours, theirs in zip(found, wanted, strict=True):
            assert np.array_equal(ours.xyxy, theirs.xyxy)
            assert np.array_equal(ours.scores, theirs.scores)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_floats_are_decoded_in_float32(dtype: type) -> None:
    outputs = [m.astype(dtype) for m in random_maps(YOLOV5, 1, 3, (2, 2), seed=2)]
    wide = [m.astype(np.float64) for m in outputs]
    (narrow,), (exact,) = (decode_yolov5(o, STRIDES, ANCHORS, 0.2) for o in (outputs, wide))
    assert (narrow.xyxy.dtype, narrow.scores.dtype) == (np.float32, np.float32)
    np.testing.assert_allclose(narrow.xyxy, exact.xyxy, atol=1e-3)
    np.testing.assert_allclose(narrow.scores, exact.scores, atol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spec", [YOLOV5, YOLOX, DFL], ids=["yolov5", "yolox", "dfl"])
@pytest.mark.parametrize("logit", [1e4, -1e4, 1e30, -1e30])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_huge_logits_overflow_nowhere(spec: ModelSpec, logit: float, dtype: type) -> None:
    outputs = [np.full_like(m, logit, dtype) for m in random_maps(spec, 1, 3, (2, 3), seed=0)]
    mapping = Letterbox((1.0, 1.0), (0, 0), (64, 96))
    (boxes,) = detect_arrays(spec, outputs, [mapping])
    assert np.isfinite(boxes.xyxy).all() and np.isfinite(boxes.scores).all()
    if logit == 1e4 and spec.anchors:
        assert len(boxes) > 0 and (boxes.scores == 1).all()
    if logit < 0:
        assert len(boxes) == 0


def test_a_huge_size_is_the_whole_image() -> None:
    outputs = empty_maps()
    outputs[6][0, 2:, 1, 1], outputs[7][0, 0, 1, 1], outputs[8][0, 1, 1, 1] = 1e4, 9, 9
    (found,) = detect(YOLOX, outputs, Letterbox((1.0, 1.0), (0, 0), (64, 96)))
    assert (found["box"], found["name"]) == ([0.0, 0.0, 96.0, 64.0], "dog")


@given(x=st.floats(-1e4, 1e4))
def test_sigmoid_is_torchs(x: float) -> None:
    wanted = torch.tensor(x, dtype=torch.float64).sigmoid().item()
    assert sigmoid(np.array(x)) == pytest.approx(wanted, rel=1e-12, abs=1e-34)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda m: decode_yolox(m[:4], STRIDES, 0.5), "need 9 maps, or 3 joined; got 4"),
        (lambda m: decode_yolox(m[:1] * 9, STRIDES, 0.5), r"maps have 4, 1 and some channels"),
        (lambda m: decode_yolox(m[1:2] * 3, STRIDES, 0.5), r"maps have 4, 1 and some channels"),
        (lambda m: decode_yolov5(m[:2], STRIDES, ANCHORS, 0.5), "3 strides and 3 sets of anchors"),
        (lambda m: decode_yolov5(m[:3], STRIDES, ANCHORS, 0.5), "4 channels are not 3 times 5"),
        (lambda m: decode_dfl(m[:5], STRIDES, 0.5), "need 6 maps .*, got 5"),
        (lambda m: decode_dfl(m[2::3] * 2, STRIDES, 0.5), "3 channels are not four sides"),
        (lambda m: decode(replace(YOLOX, head=""), m, 0.5), "no decoder for the head ''"),
    ],
)
def test_maps_that_do_not_fit_are_refused(run: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(random_maps(YOLOX, 1, 3, (1, 1), seed=0))


# The whole way


def empty_maps(n: int = 1) -> list[np.ndarray]:
    """YOLOX's nine maps for 64x96 pixels and three classes, with nothing in them."""
    maps = random_maps(YOLOX, n, len(CLASSES), (2, 3), seed=0)
    return [np.full_like(m, 0.0 if i % 3 == 0 else NOTHING, np.float32) for i, m in enumerate(maps)]


def test_a_detection_is_in_image_pixels() -> None:
    """An image of 128x128 stands in 64x96 at half size, 16 pixels from the left."""
    _, mapping = letterbox(np.zeros((128, 128, 3), np.uint8), (64, 96), "bgr")
    assert mapping == Letterbox((0.5, 0.5), (16, 0), (128, 128))
    outputs = empty_maps()
    # Stride 16, row 1, column 2: centre (40, 24) + (8, 4), 32 pixels wide and 16 high.
    outputs[3][0, :, 1, 2] = 0.5, 0.25, np.log(2), 0
    outputs[4][0, 0, 1, 2], outputs[5][0, :, 1, 2] = 2, (1, 3, -1)
    (found,) = detect(YOLOX, outputs, mapping, threshold=0.5)
    np.testing.assert_allclose(found["box"], [16, 24, 80, 56], atol=1e-4)
    assert found["score"] == pytest.approx(1 / (1 + np.exp(-2)) / (1 + np.exp(-3)), abs=1e-6)
    assert (found["class"], found["name"]) == (1, "dog")
    assert [type(value) for value in (found["score"], found["class"])] == [float, int]
    assert detect(YOLOX, outputs, mapping, threshold=0.9) == []
    (both,) = detect_arrays(YOLOX, outputs, [mapping], 0.5, multi_label=True)
    assert both.classes.tolist() == [1, 0]


def test_nothing_is_an_empty_list() -> None:
    mapping = Letterbox((1.0, 1.0), (0, 0), (64, 96))
    assert detect(YOLOX, empty_maps(), mapping) == []
    (boxes,) = detect_arrays(YOLOX, empty_maps(), [mapping], multi_label=True)
    assert (boxes.xyxy.shape, boxes.scores.shape, boxes.classes.shape) == ((0, 4), (0,), (0,))


def test_a_box_in_the_grey_is_dropped_and_one_at_the_edge_is_cut() -> None:
    _, mapping = letterbox(np.zeros((64, 64), np.uint8), (64, 96), "gray", centred=False)
    outputs = empty_maps()
    for column in (11, 7):  # centres at 88 and 56, 24 pixels wide; the image ends at 64
        outputs[0][0, 2:, 3, column] = np.log(3)
        outputs[1][0, 0, 3, column], outputs[2][0, 0, 3, column] = 9, 9
    (found,) = detect(YOLOX, outputs, mapping)
    np.testing.assert_allclose(found["box"], [44, 12, 64, 36], atol=1e-4)


def test_each_image_of_a_batch_has_its_own_boxes() -> None:
    outputs = empty_maps(n=3)
    outputs[1][2, 0, 0, 0], outputs[2][2, 0, 0, 0] = 9, 9
    outputs[1][0, 0, 1, 1], outputs[2][0, 2, 1, 1] = 9, 9
    mappings = [Letterbox((s, s), (0, 0), (960, 960)) for s in (1.0, 1.0, 0.1)]
    first, second, third = detect_arrays(YOLOX, outputs, mappings)
    assert [boxes.classes.tolist() for boxes in (first, second, third)] == [[2], [], [0]]
    np.testing.assert_allclose(first.xyxy, [[4, 4, 12, 12]], atol=1e-4)
    np.testing.assert_allclose(third.xyxy, [[0, 0, 40, 40]], atol=1e-3)
    with pytest.raises(ValueError, match="zip"):
        detect_arrays(YOLOX, outputs, mappings[:2])


def test_a_box_from_its_sides_is_in_picture_pixels() -> None:
    """Half of the left side's probability at 1 cell and half at 2: the mean counts."""
    maps = random_maps(DFL, 1, len(CLASSES), (2, 3), seed=0)
    outputs = [np.full_like(m, NOTHING, np.float32) for m in maps]
    # Stride 16, row 1, column 2: the centre is (40, 24). Left, top, right, bottom in cells:
    for side, bins in enumerate(((1, 2), (1,), (3,), (0,))):
        outputs[2][0, [side * BINS + b for b in bins], 1, 2] = 0
    outputs[3][0, 2, 1, 2] = 3
    mapping = Letterbox((0.5, 0.5), (0, 0), (192, 192))
    (found,) = detect(DFL, outputs, mapping)
    np.testing.assert_allclose(found["box"], [32, 16, 176, 48], atol=1e-4)
    assert (found["name"], found["score"]) == ("cow", pytest.approx(1 / (1 + np.exp(-3))))
    assert detect(DFL, outputs, mapping, 0.96) == []


def test_anchors_choose_the_decoder() -> None:
    outputs = [m.astype(np.float32) for m in random_maps(YOLOV5, 1, 3, (2, 3), seed=4)]
    mapping = Letterbox((1.0, 1.0), (0, 0), (64, 96))
    found = detect(YOLOV5, outputs, mapping, 0.4)
    (candidates,) = decode_yolov5(outputs, STRIDES, ANCHORS, 0.4)
    best = nms(candidates, 0.45)
    xyxy = mapping.to_image(best.xyxy)
    seen = areas(xyxy) > 0
    np.testing.assert_allclose([f["box"] for f in found], xyxy[seen], atol=1e-5)
    assert [f["class"] for f in found] == best.classes[seen].tolist() and len(found) > 5
