"""The C library of board programs gives what the NumPy reference of the zoo gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.zoo.tasks import letterbox as letterboxes
from edgeark.zoo.tasks.classification import softmax, top_k
from edgeark.zoo.tasks.images import normalize, to_planes
from edgeark.zoo.tasks.letterbox import GREY, letterbox
from edgeark.zoo.tasks.segmentation import resize_logits, to_mask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.edge_post_c import Library, Map, run_command
from support.target_base import installed_target

sides = st.integers(1, 90)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from(["float32", "int8", "uint8"])
layouts = st.sampled_from(["NCHW", "NHWC"])
examples = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def make_picture(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# Images and inputs


@settings(examples, max_examples=150)
@given(
    image=st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    centred=st.booleans(),
)
@example(image=(5, 10), size=(5, 5), centred=True)  # 2.5 rows are 2
@example(image=(14, 7), size=(7, 9), centred=True)  # 3.5 columns are 4, the margin is odd
def test_letterboxes_lie_where_the_zoo_puts_them(
    edge_post: Library, image: tuple[int, int], size: tuple[int, int], centred: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:  # no pixels are needed
        patch.setattr(letterboxes, "resize", lambda _, new: np.zeros((1, *new), np.uint8))
        patch.setattr(letterboxes, "to_planes", lambda picture, _: picture[..., None])
        _, mapping = letterbox(np.empty(image, np.uint8), size, "gray", centred=centred)
    frame = edge_post.frame(image, size, "centred" if centred else "corner")
    assert (frame.x, frame.y) == mapping.pad
    assert (frame.width / image[1], frame.height / image[0]) == mapping.scale


def bilinear(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Float64 ``[h, w, C] -> [*size, C]`` without antialiasing, edges repeated."""
    for axis, new in enumerate(size):
        old = planes.shape[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        weight = (at - low).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        first, second = (planes.take(i, axis) for i in (low, np.minimum(low + 1, old - 1)))
        planes = first * (1 - weight) + second * weight
    return planes


@examples
@given(
    image=st.tuples(sides, sides),
    size=st.tuples(sides, st.integers(1, 150)),
    place=st.sampled_from(["centred", "corner", "stretched"]),
    planes=st.sampled_from([1, 3]),
    color=st.sampled_from(["rgb", "bgr", "gray"]),
    layout=layouts,
    seed=seeds,
)
def test_pictures_are_resized_and_framed(
    edge_post: Library,
    image: tuple[int, int],
    size: tuple[int, int],
    place: str,
    planes: int,
    color: str,
    layout: str,
    seed: int,
) -> None:
    picture = make_picture(seed, *image, planes)
    frame = edge_post.frame(image, size, place)
    found = edge_post.fill_input(picture, frame, color, layout=layout)
    found = found if layout == "NHWC" else found.transpose(1, 2, 0)

    source = to_planes(picture, 1 if color == "gray" else 3).astype(np.float64)
    wanted = np.full(found.shape, float(GREY))
    inner = np.s_[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    wanted[inner] = bilinear(source, (frame.height, frame.width))
    if color == "bgr":
        wanted = wanted[..., ::-1]
    # A weight is off by at most 2^-12 and a pixel spans 255: two axes move it by up to 0.13.
    assert np.abs(found - wanted).max() <= 0.5 + 0.13
    turned = edge_post.fill_input(
        np.ascontiguousarray(picture[..., ::-1]), frame, color, picture_order="bgr", layout=layout
    )
    turned = turned if layout == "NHWC" else turned.transpose(1, 2, 0)
    assert np.array_equal(turned, found)


@examples
@given(h=sides, w=sides, factor=st.integers(1, 3), gap=st.integers(0, 5), seed=seeds)
def test_enlarged_pictures_are_the_zoos_inputs(
    edge_post: Library, h: int, w: int, factor: int, gap: int, seed: int
) -> None:
    """And rows may be further apart than they are long, as those of a part of an image are."""
    picture = make_picture(seed, h, w + gap, 3)[:, :w]
    size = (h * factor + 3, w * factor)
    wanted, _ = letterbox(np.ascontiguousarray(picture), size)
    found = edge_post.fill_input(picture, edge_post.frame((h, w), size))
    assert np.abs(found.astype(int) - wanted[0]).max() <= 1
    if factor == 1:
        assert np.array_equal(found, wanted[0])


@examples
@given(h=sides, w=sides, layout=layouts, zero_point=st.integers(-128, 127), seed=seeds)
def test_inputs_are_normalised_and_quantised(
    edge_post: Library, h: int, w: int, layout: str, zero_point: int, seed: int
) -> None:
    picture, frame = make_picture(seed, h, w, 3), edge_post.frame((h, w), (33, 47))
    mean, std = (123.7, 116.3, 103.5), (58.4, 57.1, 0.5)

    def fed(**options: Any) -> np.ndarray:
        return edge_post.fill_input(picture, frame, layout=layout, mean=mean, std=std, **options)

    plain = fed()
    channels_first = plain[None] if layout == "NCHW" else plain.transpose(2, 0, 1)[None]
    wanted = normalize(channels_first, mean, std)
    wanted = wanted[0] if layout == "NCHW" else wanted[0].transpose(1, 2, 0)
    assert np.array_equal(fed(dtype="float32"), wanted)
    scale = np.float32(0.031)
    levels = np.rint(wanted / scale) + zero_point
    options = {"scale": scale, "zero_point": zero_point}
    assert np.array_equal(fed(dtype="int8", **options), np.clip(levels, -128, 127))
    options["zero_point"] += 128
    assert np.array_equal(fed(dtype="uint8", **options), np.clip(levels + 128, 0, 255))


def test_resizing_is_opencvs(edge_post: Library, tmp_path: Path) -> None:
    (toolchain,) = installed_target("opencv").toolchains()
    pictures = [make_picture(i, *size, 3) for i, size in enumerate([(37, 61), (90, 45), (5, 8)])]
    sizes = [(64, 64), (31, 77), (90, 91), (12, 13)]
    np.savez(tmp_path / "in.npz", *pictures)
    code = (
        "import sys, cv2, numpy as np\n"
        "pictures = np.load(sys.argv[1]).values()\n"
        f"out = [cv2.resize(p, s[::-1]) for p in pictures for s in {sizes}]\n"
        "np.savez(sys.argv[2], *out)\n"
    )
    where = (tmp_path / "in.npz", tmp_path / "out.npz")
    run_command(toolchain.ensure(), "-c", code, *where)
    wanted = list(np.load(where[1]).values())
    for i, picture in enumerate(pictures):
        for j, size in enumerate(sizes):
            frame = edge_post.frame(picture.shape[:2], size, "stretched")
            found = edge_post.fill_input(picture, frame, layout="NHWC").astype(int)
            assert (
                np.abs(found - wanted[i * len(sizes) + j]).max() <= 1
            )  # it cuts off where we round


# Outputs


@examples
@given(shape=st.tuples(sides, sides, sides), dtype=dtypes, layout=layouts, seed=seeds)
def test_tensors_are_dequantised(
    edge_post: Library, shape: tuple[int, int, int], dtype: str, layout: str, seed: int
) -> None:
    values = np.random.default_rng(seed).normal(0, 3, [min(s, 30) for s in shape])
    output = Map.of(values, dtype, layout)
    assert np.array_equal(edge_post.read(output), output.values)


@examples
@given(n=st.sampled_from([1, 2, 4, 80, 300, 1000]), k=st.integers(1, 9), dtype=dtypes, seed=seeds)
def test_the_likeliest_classes_are_the_zoos(
    edge_post: Library, n: int, k: int, dtype: str, seed: int
) -> None:
    output = Map.of(np.random.default_rng(seed).normal(0, 4, (n, 1, 1)), dtype)
    (wanted,) = top_k(output.values, [str(i) for i in range(n)], k)
    found = edge_post.top_k(output, k)
    assert [index for index, _ in found] == [one["index"] for one in wanted]
    assert [score for _, score in found] == pytest.approx([one["score"] for one in wanted], 1e-5)
    np.testing.assert_allclose(edge_post.softmax(output), softmax(output.values.ravel()), rtol=1e-5)


@examples
@given(
    classes=st.sampled_from([1, 2, 4, 80, 256]),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    threshold=st.sampled_from([0.001, 0.3, 0.5, 0.95]),
    scale=st.sampled_from([0.01, 0.5]),  # of 0.5 many are equal
    dtype=dtypes,
    layout=layouts,
    seed=seeds,
)
@example(1, (4, 5), 0.95, 0.01, "int8", "NCHW", 0).via("no integer reaches the threshold")
def test_masks_are_the_zoos(
    edge_post: Library,
    classes: int,
    shape: tuple[int, int],
    threshold: float,
    scale: float,
    dtype: str,
    layout: str,
    seed: int,
) -> None:
    values = np.random.default_rng(seed).normal(0, 2, (classes, *shape))
    output = Map.of(values, dtype, layout, scale)
    assert np.array_equal(edge_post.mask(output, threshold), to_mask(output.values, threshold)[0])


@examples
@given(
    classes=st.sampled_from([1, 3]),
    shape=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    factor=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    extra=st.integers(0, 4),
    dtype=dtypes,
    layout=layouts,
    seed=seeds,
)
def test_masks_of_the_images_size_are_the_zoos(
    edge_post: Library,
    classes: int,
    shape: tuple[int, int],
    factor: tuple[int, int],
    extra: int,
    dtype: str,
    layout: str,
    seed: int,
) -> None:
    """Where logits and thresholds are apart by more than the arithmetic's last bits."""
    values = np.random.default_rng(seed).normal(0, 2, (classes, *shape))
    output = Map.of(values, dtype, layout)
    size = (shape[0] * factor[0] + extra, shape[1] * factor[1] + extra)
    resized = resize_logits(output.values, size)
    rivals = np.concatenate([resized[0], np.zeros((1, *size))]) if classes == 1 else resized[0]
    best = np.sort(rivals, axis=0)[-2:]
    gap = best[1] - best[0]
    found = edge_post.image_mask(output, edge_post.frame(size, (64, 96), "stretched"))
    differ = found != to_mask(resized)[0]
    assert not (differ & (gap > 1e-4)).any()


@examples
@given(
    image=st.tuples(sides, sides),
    size=st.tuples(sides, sides),
    shrink=st.integers(1, 3),
    place=st.sampled_from(["centred", "corner", "stretched"]),
    seed=seeds,
)
def test_masks_are_resized_to_the_image_by_the_nearest_pixel(
    edge_post: Library,
    image: tuple[int, int],
    size: tuple[int, int],
    shrink: int,
    place: str,
    seed: int,
) -> None:
    mask = make_picture(seed, *(max(1, s // shrink) for s in size))
    frame = edge_post.frame(image, size, place)
    rows, columns = (
        ((2 * np.arange(old) + 1) * new + 2 * pad * old) * side // (2 * old * whole)
        for old, new, pad, side, whole in zip(
            image,
            (frame.height, frame.width),
            (frame.y, frame.x),
            mask.shape,
            size,
            strict=True,
        )
    )
    assert np.array_equal(edge_post.image_mask(mask, frame), mask[rows][:, columns])
