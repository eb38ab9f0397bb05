"""Nearest resizing: whether a runtime takes the pixels that PyTorch takes.

PyTorch takes pixel ``floor(i * (1 / factor))``, in float32. Where ``i / factor`` is a whole number,
or nearly, another order of the same arithmetic may end at the neighbour: by a factor of 0.6 every
third row and column on ONNX Runtime. Where the factor gives no whole size, the ratio of the sizes
is another one. Factors of 2, 3 and 4 are the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...core.messages import format_shape
from ..graph.network import Op
from .rule import Rule, op_rule

Place = Callable[[np.ndarray, int, int, float | None], np.ndarray]
"""Where pixels lie in the map: of their numbers (float32), the sizes before and after, the factor.

The factor is None where the network names a size.
"""


def by_pytorch(pixels: np.ndarray, before: int, after: int, factor: float | None) -> np.ndarray:
    """Times the inverse, or the ratio of the sizes."""
    if factor is None:
        return by_ratio(pixels, before, after, factor)
    return pixels * np.float32(1 / factor)


def by_quotient(pixels: np.ndarray, before: int, after: int, factor: float | None) -> np.ndarray:
    """Divided by the factor: ONNX Runtime and OpenVINO."""
    return pixels / np.float32(factor or after / before)


def by_inverse(pixels: np.ndarray, before: int, after: int, factor: float | None) -> np.ndarray:
    """Times the inverse of the rounded factor, or the ratio of the sizes: MNN and ncnn."""
    if factor is None:
        return by_ratio(pixels, before, after, factor)
    return pixels * (np.float32(1) / np.float32(factor))


def by_double_ratio(pixels: np.ndarray, before: int, after: int, _: float | None) -> np.ndarray:
    """Of the sizes alone, in double precision: OpenCV 4."""
    return pixels.astype(np.float64) * (1 / (after / before))


def by_ratio(pixels: np.ndarray, before: int, after: int, _: float | None) -> np.ndarray:
    """Of the sizes alone: OpenCV 5."""
    return pixels * (np.float32(before) / np.float32(after))


def by_size_quotient(pixels: np.ndarray, before: int, after: int, _: float | None) -> np.ndarray:
    """Divided by the ratio of the sizes: Qualcomm's HTP."""
    return pixels / np.float32(after / before)


_WAYS = {
    by_quotient: "divides by the factor where PyTorch multiplies by its inverse",
    by_inverse: "inverts the factor in single precision, PyTorch in double",
    by_double_ratio: "goes by the ratio of the sizes, in double precision",
    by_ratio: "goes by the ratio of the sizes",
    by_size_quotient: "divides by the ratio of the sizes",
}


def nearest_rounding(engine: str, place: Place) -> Rule:
    """Fires where ``place``, a key of ``_WAYS``, takes other pixels than PyTorch."""
    rule = op_rule(
        "upsample_nearest2d",
        name="nearest-rounding",
        reason=f"{engine} {_WAYS[place]}: rounding takes other pixels",
        fix="double it (any whole factor will do), or use bilinear resizing",
    )
    return rule(lambda op: _other_pixels(op, place))


def _other_pixels(op: Op, place: Place) -> str | None:
    before, after = op.input_shapes[0][2:], op.shape[2:]
    factors = op.scale_factors or (None, None)
    for n, m, factor in zip(before, after, factors, strict=True):
        pixels = np.arange(m, dtype=np.float32)
        taken, wanted = (np.floor(way(pixels, n, m, factor)) for way in (place, by_pytorch))
        if not np.array_equal(np.minimum(taken, n - 1), np.minimum(wanted, n - 1)):
            return f"nearest resizing of {format_shape(before)} to {format_shape(after)}"
    return None
