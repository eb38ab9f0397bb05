"""Resizing maps, and sampling them at points.

``F.interpolate`` where it does what the file says. Else each axis for itself: nearest by index,
linear and cubic as a product with a matrix that holds what each output takes of each input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class _Axis:
    """``scale`` is the output's size by the input's, as the file gives it."""

    axis: int
    size: int
    wanted: int
    scale: float

    @property
    def is_same(self) -> bool:
        return self.size == self.wanted and self.scale == 1


@dataclass(frozen=True)
class _How:
    mode: str
    coordinates: str
    rounding: str
    cubic: float
    exclude: bool


@operator("Upsample")
def upsample(node: OnnxNode) -> Function:
    return _resize(node, node.attribute("scales") or _floats(node, 1), None)


@operator("Resize")
def resize(node: OnnxNode) -> Function:
    if node.opset < 11:
        return _resize(node, _floats(node, 1), None)
    node.drop(1)
    scales, sizes = _floats(node, 2), node.ints(3)
    return _resize(node, scales or None, sizes or None)


def _floats(node: OnnxNode, index: int) -> list[float]:
    value = node.take(index)
    return [] if value is None else [float(n) for n in value.reshape(-1).tolist()]


def _resize(node: OnnxNode, scales: list[float] | None, sizes: list[int] | None) -> Function:
    axes = _read_axes(node, scales, sizes)
    how = _read_how(node)
    if all(axis.is_same for axis in axes):
        return lambda x: x
    spatial = axes[2:]
    plain = node.rank(0) in (3, 4, 5) and all(axis.is_same for axis in axes[:2])
    # Whole factors are kept as factors, as in nn.Upsample(scale_factor=2).
    keyword: dict[str, object] = {"size": [axis.wanted for axis in spatial]}
    exact = all(axis.wanted == axis.size * axis.scale for axis in spatial)
    if scales and (not exact or all(axis.scale == int(axis.scale) for axis in spatial)):
        keyword = {"scale_factor": [axis.scale for axis in spatial]}
    if plain and (mode := _torch_mode(spatial, how)) is not None:
        if mode == "bicubic" and len(spatial) != 2:
            return _by_axis(node, axes, how)
        if mode not in ("nearest", "nearest-exact"):
            keyword["align_corners"] = how.coordinates == "align_corners"
        return lambda x: F.interpolate(x, mode=mode, **keyword)  # type: ignore[arg-type]
    return _by_axis(node, axes, how)


def _read_axes(node: OnnxNode, scales: list[float] | None, sizes: list[int] | None) -> list[_Axis]:
    shape = node.shape(0)
    named = [a % len(shape) for a in node.attribute("axes") or range(len(shape))]
    if (scales is None) == (sizes is None) or len(scales or sizes or ()) != len(named):
        node.fail("it needs either one scale or one size for each axis")
    policy = node.attribute("keep_aspect_ratio_policy", "stretch")
    if sizes is not None and policy != "stretch":
        ratios = [n / shape[a] for n, a in zip(sizes, named, strict=True)]
        ratio = min(ratios) if policy == "not_larger" else max(ratios)
        scales = [ratio] * len(named)
        sizes = [math.floor(shape[a] * ratio + 0.5) for a in named]
    elif sizes is not None:
        scales = [n / shape[a] for n, a in zip(sizes, named, strict=True)]
    assert scales is not None
    found = {
        a: (s, sizes[i] if sizes else None)
        for i, (a, s) in enumerate(zip(named, scales, strict=True))
    }
    result = []
    for axis, size in enumerate(shape):
        scale, wanted = found.get(axis, (1.0, size))
        result.append(
            _Axis(axis, size, math.floor(size * scale) if wanted is None else wanted, scale)
        )
    return result


def _read_how(node: OnnxNode) -> _How:
    old = node.opset < 11
    coordinates = node.attribute(
        "coordinate_transformation_mode", "asymmetric" if old else "half_pixel"
    )
    rounding = node.attribute("nearest_mode", "floor" if old else "round_prefer_floor")
    mode = node.attribute("mode", "nearest")
    if node.attribute("antialias", 0):  # ONNX Runtime's filter is not torch's
        node.fail("antialias is not supported; resize without it, or pool first")
    if coordinates == "tf_crop_and_resize":
        node.fail(f"coordinate_transformation_mode {coordinates} is not supported")
    return _How(
        "linear" if mode in ("bilinear", "trilinear") else mode,
        coordinates,
        rounding,
        node.number_attribute("cubic_coeff_a", -0.75),
        bool(node.attribute("exclude_outside", 0)),
    )


def _torch_mode(axes: Sequence[_Axis], how: _How) -> str | None:
    """The mode of ``F.interpolate`` that does the same, None if none does."""
    if how.mode == "nearest":
        wanted = [_nearest(axis, how) for axis in axes]
        for mode, shift in (("nearest", 0.0), ("nearest-exact", 0.5)):
            if all(
                np.array_equal(w, _torch_nearest(axis, shift))
                for w, axis in zip(wanted, axes, strict=True)
            ):
                return mode
        return None
    # pytorch_half_pixel differs from half_pixel where the output is of size 1 alone
    is_larger = how.coordinates == "pytorch_half_pixel" and all(a.wanted > 1 for a in axes)
    aligned = how.coordinates in ("half_pixel", "align_corners") or is_larger
    if not aligned or how.exclude:
        return None
    if how.mode == "linear":
        return _LINEAR[len(axes)]
    return "bicubic" if how.mode == "cubic" and how.cubic == -0.75 else None


def _torch_nearest(axis: _Axis, shift: float) -> np.ndarray:
    step = np.float32(1 / axis.scale)
    places = np.floor((np.arange(axis.wanted, dtype=np.float32) + np.float32(shift)) * step)
    return np.clip(places, 0, axis.size - 1).astype(np.int64)


def _sources(axis: _Axis, coordinates: str) -> np.ndarray:
    """Where in the input each output lies."""
    out = np.arange(axis.wanted, dtype=np.float64)
    if coordinates == "align_corners":
        return out * (axis.size - 1) / max(axis.wanted - 1, 1)
    if coordinates == "asymmetric":
        return out / axis.scale
    if coordinates == "pytorch_half_pixel" and axis.wanted == 1:
        return np.zeros(1)
    if coordinates == "half_pixel_symmetric":
        adjusted = axis.wanted / (axis.scale * axis.size)
        return axis.size / 2 * (1 - adjusted) + (out + 0.5) / axis.scale - 0.5
    if coordinates == "tf_half_pixel_for_nn":
        return (out + 0.5) / axis.scale
    return (out + 0.5) / axis.scale - 0.5


def _nearest(axis: _Axis, how: _How) -> np.ndarray:
    places = _sources(axis, how.coordinates)
    rounded = {
        "floor": np.floor(places),
        "ceil": np.ceil(places),
        "round_prefer_floor": np.ceil(places - 0.5),
        "round_prefer_ceil": np.floor(places + 0.5),
    }[how.rounding]
    return np.clip(rounded, 0, axis.size - 1).astype(np.int64)


def _by_axis(node: OnnxNode, axes: Sequence[_Axis], how: _How) -> Function:
    changed = [axis for axis in axes if not axis.is_same]
    numbers = [axis.axis for axis in changed]
    if how.mode == "nearest":
        for axis in changed:
            node.add(torch.from_numpy(_nearest(axis, how)))

        def pick(x: Tensor, *indices: Tensor) -> Tensor:
            for number, index in zip(numbers, indices, strict=True):
                x = torch.index_select(x, number, index)
            return x

        return pick
    if how.mode not in ("linear", "cubic"):
        node.fail(f"mode {how.mode} is not known")
    for axis in changed:
        node.add(torch.from_numpy(_matrix(axis, how)).to(node.dtype(0)))

    def mix(x: Tensor, *matrices: Tensor) -> Tensor:
        for number, matrix in zip(numbers, matrices, strict=True):
            x = F.linear(x.transpose(number, -1), matrix).transpose(number, -1)
        return x

    return mix


def _matrix(axis: _Axis, how: _How) -> np.ndarray:
    """``[output, input]``; neighbours beyond the edge are the edge, or do not count."""
    places = _sources(axis, how.coordinates)
    first = np.floor(places)
    share = places - first
    if how.mode == "linear":
        weights = {0: 1 - share, 1: share}
    else:
        weights = {k: _cubic(np.abs(share - k), how.cubic) for k in (-1, 0, 1, 2)}
    matrix = np.zeros((axis.wanted, axis.size))
    rows = np.arange(axis.wanted)
    for offset, weight in weights.items():
        column = (first + offset).astype(np.int64)
        inside = (column >= 0) & (column < axis.size)
        counted = np.where(inside | (not how.exclude), weight, 0)
        np.add.at(matrix, (rows, np.clip(column, 0, axis.size - 1)), counted)
    if how.exclude:
        matrix /= matrix.sum(1, keepdims=True)
    return matrix.astype(np.float32)


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys's kernel."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


@operator("GridSample")
def grid_sample(node: OnnxNode) -> Function:
    given = node.attribute("mode", "linear")
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(given) or given
    padding = node.attribute("padding_mode", "zeros")
    align = bool(node.attribute("align_corners", 0))
    return lambda x, grid: F.grid_sample(x, grid, mode, padding, align)


@operator("AffineGrid")
def affine_grid(node: OnnxNode) -> Function:
    size, align = node.ints(1) or [], bool(node.attribute("align_corners", 0))
    return lambda theta: F.affine_grid(theta, size, align)
