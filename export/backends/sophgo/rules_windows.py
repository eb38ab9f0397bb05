"""What Sophgo's TPUs cannot do with windows of a map: pools and convolutions."""

from __future__ import annotations

import torch

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import common, predicates
from ...lint.rule_set import RuleSet
from .chips import CV18XX, REFUSED, WRONG

rules = RuleSet(examples=f"{__package__}.examples")

_MOST_STRIDE = 15  # of a pool along rows
_MOST_COLUMNS = 31  # of a map whose maximum a pool takes

rules.add(common.dilated_pool("the converter drops the dilation"))
rules.add(common.negative_padding(WRONG))


rules.add(
    common.average_ceil_mode(
        f"it divides the last windows by another number: {WRONG}",
        "choose kernel, stride and padding that fit the map",
        kinds=("avg_pool1d", "avg_pool2d"),
    )
)


@rules.op(
    *("avg_pool1d", "avg_pool2d"),
    name="uncounted-padding",
    reason=REFUSED,
    fix="count the padding: count_include_pad=True, PyTorch's default",
    chips=CV18XX,
)
def uncounted_padding(op: Op) -> str | None:
    return predicates.uncounted_padding(op)


@rules.op(
    *("adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "max_pool2d"),
    name="pool-stride",
    reason=f"{REFUSED}, or {WRONG}",
    fix=f"use steps of at most {_MOST_STRIDE}: several pools, or a smaller map",
    chips=CV18XX,
    precisions=("float16",),
)
def pool_stride(op: Op) -> str | None:
    """Of the whole map there is no step; the maximum of all of it is another rule's.

    Long steps along columns are not refused: they are computed wrongly.
    """
    if "adaptive" in op.kind:
        sides = zip(op.input_shapes[0][-2:], op.shape[-2:], strict=True)
        steps, is_whole = tuple(a // b for a, b in sides), op.shape[-2:] == (1, 1)
        if predicates.uneven_pool(op):  # refused for that
            return None
    else:
        steps, is_whole = op.stride, op.kernel == op.input_shapes[0][-2:]
    is_large = steps[0] > _MOST_COLUMNS or steps[1] > _MOST_STRIDE
    return f"a pool that steps by {format_shape(steps)}" if is_large and not is_whole else None


rules.add(common.uneven_pool(REFUSED, axes=(2,)))


@rules.op(
    *("adaptive_max_pool2d", "max_pool2d"),
    name="maximum-of-a-map",
    reason=WRONG,
    fix="write x.amax((2, 3), keepdim=True)",
    chips=CV18XX,
)
def maximum_of_a_map(op: Op) -> str | None:
    size = op.input_shapes[0][-2:]
    is_whole = op.shape[-2:] == (1, 1) and ("adaptive" in op.kind or op.kernel == size)
    is_large = is_whole and size[1] > _MOST_COLUMNS
    return f"a max pool over all of {format_shape(size)}" if is_large else None


@rules.op(
    *("conv_transpose1d", "conv_transpose2d"),
    name="dilated-transpose",
    reason="the compiled network dies with SIGABRT",
    fix="use a transposed convolution without dilation",
    chips=CV18XX,
)
def dilated_transpose(op: Op) -> str | None:
    dilation = op.arguments["dilation"]
    return (
        f"a transposed convolution with dilation {dilation}" if predicates.is_dilated(op) else None
    )


@rules.op(
    *("conv1d", "conv2d", "conv_transpose2d"),
    name="computed-kernel",
    reason="the compiler dies with SIGSEGV",
    fix="multiply and sum instead, or keep the kernel in the weights",
    chips=CV18XX,
)
def computed_kernel(op: Op) -> str | None:
    is_computed = isinstance(op.arguments["weight"], torch.fx.Node)
    return "a convolution whose kernel the network computes" if is_computed else None
