"""Detection by the C library of board programs, against the NumPy reference of the zoo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.zoo import create_model, model_entry
from edgeark.zoo.tasks.boxes import Boxes, nms
from edgeark.zoo.tasks.detection import (
    decode_dfl,
    decode_yolov5,
    decode_yolox,
    detect_arrays,
    sigmoid,
)
from edgeark.zoo.tasks.images import normalize
from edgeark.zoo.tasks.letterbox import Letterbox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.edge_post_c import Found, Library, Map

STRIDES = (8, 16, 32)
ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.5, 61.25), (62.0, 45.0)),
    ((116.0, 90.0),),
)
sides = st.integers(1, 90)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "int8", "uint8"])
layouts = st.sampled_from(["NCHW", "NHWC"])
thresholds = st.sampled_from([0.0, 0.01, 0.25, 0.5, 0.9, 0.9999, 1.0])
class_counts = st.sampled_from([1, 2, 4, 80, 300])
examples = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def assert_equal_boxes(found: Boxes, wanted: Boxes) -> None:
    """Up to the last bits of the exponential."""
    assert np.array_equal(found.classes, wanted.classes)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=2e-6, atol=1e-7)
    np.testing.assert_allclose(found.xyxy, wanted.xyxy, rtol=5e-6, atol=5e-4)


def make_maps(
    channels: list[int], size: tuple[int, int], seed: int, dtype: str, layout: str
) -> list[Map]:
    """Raw maps, finest first; ``channels`` a map, the same number of maps a stride."""
    rng = np.random.default_rng(seed)
    each = len(channels) // len(STRIDES)
    maps = []
    for i, count in enumerate(channels):
        scale = 4 >> (i // each)
        values = rng.normal(-0.5, 2.0, (count, size[0] * scale, size[1] * scale))
        maps.append(Map.of(values, dtype, layout))
    return maps


decoding = {
    "classes": class_counts,
    "size": st.tuples(st.integers(1, 2), st.integers(1, 3)),
    "threshold": thresholds,
    "dtype": dtypes,
    "layout": layouts,
    "seed": seeds,
}


@examples
@given(**decoding)
def test_yolov5_candidates_are_the_zoos(
    edge_post: Library,
    classes: int,
    size: tuple[int, int],
    threshold: float,
    dtype: str,
    layout: str,
    seed: int,
) -> None:
    channels = [len(sizes) * (5 + classes) for sizes in ANCHORS]
    maps = make_maps(channels, size, seed, dtype, layout)
    (wanted,) = decode_yolov5([m.values for m in maps], STRIDES, ANCHORS, threshold)
    found = edge_post.yolov5(maps, STRIDES, ANCHORS, threshold)
    assert_equal_boxes(found.boxes(in_order=True), wanted)


@examples
@given(**decoding, kind=st.sampled_from(["nine", "three", "activated"]))
def test_yolox_candidates_are_the_zoos(
    edge_post: Library,
    classes: int,
    size: tuple[int, int],
    threshold: float,
    dtype: str,
    layout: str,
    seed: int,
    kind: str,
) -> None:
    channels = [5 + classes] * 3 if kind == "three" else [4, 1, classes] * 3
    maps = make_maps(channels, size, seed, dtype, layout)
    activated = kind == "activated"
    if activated:
        maps = [
            m if i % 3 == 0 else Map.of(sigmoid(m.values[0]), dtype, layout, scale=1 / 128)
            for i, m in enumerate(maps)
        ]
    values = [m.values for m in maps]
    (wanted,) = decode_yolox(values, STRIDES, threshold, activated=activated)
    found = edge_post.yolox(maps, STRIDES, threshold, activated=activated)
    assert_equal_boxes(found.boxes(in_order=True), wanted)


@examples
@given(**decoding, bins=st.sampled_from([1, 2, 16]))
def test_dfl_candidates_are_numpys(
    edge_post: Library,
    classes: int,
    size: tuple[int, int],
    threshold: float,
    dtype: str,
    layout: str,
    seed: int,
    bins: int,
) -> None:
    maps = make_maps([4 * bins, classes] * 3, size, seed, dtype, layout)
    (wanted,) = decode_dfl([m.values for m in maps], STRIDES, threshold)
    found = edge_post.dfl(maps, STRIDES, threshold)
    assert_equal_boxes(found.boxes(in_order=True), wanted)


def test_of_classes_that_are_equally_sure_the_first_wins(edge_post: Library) -> None:
    """Past 17 the sigmoid is 1 in float32, however much larger one logit is."""
    values = np.zeros((5 + 4, 1, 1), np.float32)
    values[4:, 0, 0] = 50, 3, 30, 60, 30
    for output in (Map.of(values), Map.of(values, "int8", scale=0.5)):
        (wanted,) = decode_yolov5([output.values], [8], [[(9, 9)]], 0.5)
        found = edge_post.yolov5([output], [8], [[(9, 9)]], 0.5).boxes()
        assert found.classes.tolist() == wanted.classes.tolist() == [1]


@pytest.mark.parametrize("threshold", [1e-4, 0.01, 0.25, 0.5, 0.9, 0.9999, 0.99999])
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
def test_nothing_above_the_threshold_is_lost(
    edge_post: Library, threshold: float, dtype: str
) -> None:
    """Logits close to the threshold, on both sides."""
    logit = np.log(threshold / (1 - threshold))
    classes = Map.of(logit + np.linspace(-0.2, 0.2, 200).reshape(1, 10, 20), dtype, scale=0.09)
    found = edge_post.dfl([Map.of(np.zeros((8, 10, 20))), classes], [8], threshold)
    wanted = int((sigmoid(classes.values) > threshold).sum())
    assert found.struct.count == found.struct.seen == wanted > 0


def test_sizes_do_not_overflow(edge_post: Library) -> None:
    values = np.zeros((5 + 1, 1, 1), np.float32)
    values[:, 0, 0] = 0, 0, 90, 1000, 5, 5
    (wanted,) = decode_yolox([values[None]], [8], 0.5)
    assert_equal_boxes(edge_post.yolox([Map.of(values)], [8], 0.5).boxes(), wanted)
    assert len(wanted) == 1


@settings(examples, max_examples=150)
@given(
    n=st.integers(0, 60),
    classes=st.integers(1, 3),
    capacity=st.integers(1, 80),
    limit=st.integers(1, 70),
    iou=st.sampled_from([0.0, 0.3, 1 / 3, 0.5, 0.7, 1.0]),
    coarse=st.booleans(),
    seed=seeds,
)
def test_suppression_is_the_zoos(
    edge_post: Library,
    n: int,
    classes: int,
    capacity: int,
    limit: int,
    iou: float,
    coarse: bool,
    seed: int,
) -> None:
    """Bit by bit, among the best ``capacity``; coarse boxes have equal scores and overlaps."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 5, (n, 2, 2)) if coarse else rng.uniform(0, 5, (n, 2, 2))
    scores = rng.integers(1, 5, n) / 5 if coarse else rng.random(n)
    xyxy = np.sort(corners, axis=1).reshape(n, 4).astype(np.float32)
    boxes = Boxes(xyxy, scores.astype(np.float32), rng.integers(0, classes, n))
    best = np.sort(np.argsort(-boxes.scores, kind="stable")[:capacity])
    wanted = nms(boxes.pick(best), iou, limit)
    found = Found(capacity)
    edge_post.add(found, boxes)
    assert found.struct.seen == n
    kept = edge_post.nms(found, iou, limit)
    for ours, theirs in zip(vars(kept).values(), vars(wanted).values(), strict=True):
        assert np.array_equal(ours, theirs)


@examples
@given(image=st.tuples(sides, sides), size=st.tuples(sides, sides), seed=seeds)
def test_boxes_go_back_to_the_image(
    edge_post: Library, image: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    xyxy = np.sort(rng.uniform(-20, 110, (30, 2, 2)), axis=1).reshape(30, 4).astype(np.float32)
    frame = edge_post.frame(image, size)
    scale = (frame.width / image[1], frame.height / image[0])
    mapped = Letterbox(scale, (frame.x, frame.y), image).to_image(xyxy)
    wanted = mapped[(mapped[:, 2] - mapped[:, 0]) * (mapped[:, 3] - mapped[:, 1]) > 0]
    found = Found(30)
    edge_post.add(found, Boxes(xyxy, np.linspace(0.9, 0.1, 30), np.zeros(30, int)))
    edge_post.nms(found, 1.0)
    assert np.array_equal(edge_post.to_image(frame, found).xyxy, wanted.astype(np.float32))


# The shipped detector: golden outputs of a real network


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_the_shipped_detectors_boxes_are_the_zoos(edge_post: Library, dtype: str) -> None:
    """From a picture of blood cells' colours to boxes in it, by C and by NumPy alone."""
    spec = model_entry("yolov5n").spec
    rng = np.random.default_rng(3)
    picture = np.full((231, 310, 3), (215, 190, 190), np.uint8)
    y, x = np.mgrid[:231, :310]
    for _ in range(25):
        centre, radius = rng.uniform(0, (310, 231)), rng.uniform(18, 30)
        distance = np.hypot(x - centre[0], y - centre[1]) / radius
        color = (120, 60, 150) if rng.random() < 0.2 else (200, 130, 130)
        picture[distance < 1] = color
    frame = edge_post.frame(
        picture.shape[:2], spec.input_size, "centred" if spec.is_centred else "corner"
    )
    x8 = edge_post.fill_input(picture, frame, spec.color)[None]
    with torch.inference_mode():
        model = create_model("yolov5n", pretrained=True).eval()
        outputs = [o.numpy() for o in model(torch.from_numpy(normalize(x8, spec.mean, spec.std)))]
    maps = [Map.of(o[0], dtype, scale=float(np.abs(o).max() / 100)) for o in outputs]
    scale = (frame.width / picture.shape[1], frame.height / picture.shape[0])
    mapping = Letterbox(scale, (frame.x, frame.y), picture.shape[:2])
    (wanted,) = detect_arrays(spec, [m.values for m in maps], [mapping], 0.1)
    found = edge_post.yolov5(maps, spec.strides, spec.anchors, 0.1, capacity=512)
    assert len(wanted) > 5
    edge_post.nms(found, 0.45)
    assert_equal_boxes(edge_post.to_image(frame, found), wanted)
