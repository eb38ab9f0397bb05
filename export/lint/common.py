"""Rules that several targets have in the same words: only what each makes of it differs."""

from __future__ import annotations

from collections.abc import Sequence

from . import predicates
from .rule import Predicate, Rule, op_rule


def antialias(*kinds: str, reason: str, predicate: Predicate = predicates.antialias) -> Rule:
    """``kinds`` of resizing with a filter."""
    fix = "resize without antialias, or pool first"
    return op_rule(*kinds, name="antialias", reason=reason, fix=fix)(predicate)


def average_ceil_mode(
    reason: str,
    fix: str = "choose kernel, stride and padding that fit the map, or count_include_pad=False",
    predicate: Predicate = predicates.ceiled_average,
    kinds: Sequence[str] = ("avg_pool1d", "avg_pool2d", "avg_pool3d"),
) -> Rule:
    """Of averages that count their padding, but not what lies past it."""
    return op_rule(*kinds, name="average-ceil-mode", reason=reason, fix=fix)(predicate)


def circular_padding(reason: str) -> Rule:
    fix = "pad with a constant, or reflect or replicate"
    return op_rule("pad", name="circular-padding", reason=reason, fix=fix)(
        predicates.circular_padding
    )


def dilated_pool(reason: str) -> Rule:
    fix = "use a pool without dilation"
    kinds = ("max_pool1d", "max_pool2d", "max_pool3d")
    return op_rule(*kinds, name="dilated-pool", reason=reason, fix=fix)(predicates.dilated_pool)


def divisor_override(reason: str) -> Rule:
    fix = "use the pool's own divisor and multiply behind it"
    rule = op_rule("avg_pool2d", name="divisor-override", reason=reason, fix=fix)
    return rule(predicates.divisor_override)


def fractional_size(*kinds: str, reason: str) -> Rule:
    """``kinds`` of resizing."""
    fix = "name the size (size=...), or a factor that gives whole sizes"
    return op_rule(*kinds, name="fractional-size", reason=reason, fix=fix)(
        predicates.fractional_size
    )


def max_unpool(reason: str) -> Rule:
    """Where the file comes from a trace, under which PyTorch's own size check raises."""
    kinds = ("max_unpool2d", "max_unpool3d")  # of 1-D, PyTorch computes a map's
    fix = "upsample by nearest or a transposed convolution"
    return op_rule(*kinds, name="max-unpool", reason=reason, fix=fix)(lambda op: op.kind)


def negative_index(reason: str) -> Rule:
    fix = "count from the front: x[:, [7]], or slice: x[:, -1:]"
    return op_rule("index", name="negative-index", reason=reason, fix=fix)(
        predicates.negative_index
    )


def negative_padding(reason: str) -> Rule:
    fix = "crop by a slice: x[..., 1:-1, 1:-1]"
    return op_rule("pad", name="negative-padding", reason=reason, fix=fix)(
        predicates.negative_padding
    )


def uneven_pool(reason: str, axes: Sequence[int] = (1, 2, 3)) -> Rule:
    """Of adaptive pools of so many axes."""
    kinds = (f"adaptive_{kind}_pool{dims}d" for kind in ("avg", "max") for dims in axes)
    fix = "choose sizes that divide the map's, or a pool with a kernel"
    return op_rule(*kinds, name="uneven-pool", reason=reason, fix=fix)(predicates.uneven_pool)
