"""What of a network Sophgo's TPUs cannot do: rules for ``edgeark check`` and before an export.

Each was seen on tpu-mlir 1.30.2, and ``test_sophgo_rules.py`` sees it again. Most are of the
CV18xx, whose compiler backend is older.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import onnx_file, predicates
from ...lint.rule_set import RuleSet
from . import rules_windows
from .chips import BM, CV18XX, REFUSED, WRONG

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)
rules.include(rules_windows.rules)

_CPU = "it runs on the CPU"
_ELSEWHERE = (
    "build it of convolutions, sums, products and activations, or end the network before it"
)
_REFUSED_ORDERS = {
    *((1, 0, 3, 2), (1, 3, 0, 2), (1, 3, 2, 0), (2, 0, 3, 1)),
    *((2, 3, 1, 0), (3, 0, 2, 1), (3, 2, 1, 0)),
}
_BINARY = ("add", "div", "maximum", "minimum", "mul", "rsub", "sub")


@rules.op(
    *("celu", "selu"),
    name="unread-operator",
    reason="the converter does not read it",
    fix="use ELU, SiLU or GELU",
)
def unread_operator(op: Op) -> str | None:
    return op.kind


@rules.op(
    "logsumexp",
    name="kept-logsumexp",
    reason="the converter loses its result",
    fix="leave keepdim out and add the axis behind it: x.logsumexp(1)[:, None]",
)
def kept_logsumexp(op: Op) -> str | None:
    return "logsumexp with keepdim=True" if op.arguments["keepdim"] else None


@rules.op(
    *("einsum", "fmod", "remainder"),
    name="wrong-operator",
    reason=f"{REFUSED}, or {WRONG}",
    fix="write an einsum as matmul; compute remainders on the host",
    chips=BM,
)
def wrong_operator(op: Op) -> str | None:
    return op.kind


@rules.op(
    *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "col2im"),
    name="unwritten-operator",
    reason="PyTorch's exporters do not write it in a form that the converter reads",
    fix="resize without antialias, or upsample by a transposed convolution",
)
def unwritten_operator(op: Op) -> str | None:
    return op.kind.strip("_")


@rules.op(
    *("argmax", "argmin", "asin", "atan", "cdist", "ceil", "cos", "cosh", "erf", "floor", "fmod"),
    *("frac", "group_norm", "hardshrink", "im2col", "prod", "remainder", "round", "sign", "sin"),
    *("softshrink", "tan", "threshold", "tril", "triu", "trunc", "einsum", "outer"),
    name="missing-operator",
    reason=f"{REFUSED}, or {WRONG}",
    fix=_ELSEWHERE,
    chips=CV18XX,
)
def missing_operator(op: Op) -> str | None:
    return op.kind.replace("_", " ")


@rules.op(
    *("eq", "ge", "gt", "le", "lt", "ne", "masked_fill", "where"),
    name="choice",
    reason=REFUSED,
    fix="build it of clamps, ReLU and products",
    chips=CV18XX,
)
def choice(op: Op) -> str | None:
    return f"a choice by {op.kind.replace('_', ' ')}"


@rules.op(
    *("clamp", "clamp_max", "clamp_max_"),
    name="open-clamp",
    reason=WRONG,
    fix="name both bounds: x.clamp(-1e4, 0.3)",
    chips=CV18XX,
)
def open_clamp(op: Op) -> str | None:
    given = op.arguments
    is_open = op.kind != "clamp" or (given["min"] is None and given["max"] is not None)
    return "a clamp without a lower bound" if is_open else None


@rules.op(
    "maximum",
    "minimum",
    name="broadcast-maximum",
    reason=WRONG,
    fix="expand the smaller operand, or use ReLU: a + (b - a).relu()",
    chips=CV18XX,
)
def broadcast_maximum(op: Op) -> str | None:
    smaller = [shape for shape in _operands(op) if math.prod(shape) < math.prod(op.shape)]
    return f"a {op.kind} with {format_shape(smaller[0])}" if smaller and smaller[0] else None


@rules.op(
    *_BINARY,
    name="scattered-broadcast",
    reason=REFUSED,
    fix="let the axes that are repeated be neighbours, or expand the operand first",
    chips=CV18XX,
)
def scattered_broadcast(op: Op) -> str | None:
    for shape in _operands(op):
        full = (1,) * (len(op.shape) - len(shape)) + shape
        pairs = zip(full, op.shape, strict=True)
        repeated = [axis for axis, (side, whole) in enumerate(pairs) if side != whole]
        inside = range(repeated[0], repeated[-1] + 1) if repeated else ()
        if any(axis not in repeated and op.shape[axis] != 1 for axis in inside):
            return f"{format_shape(full)} repeated to {format_shape(op.shape)}"
    return None


def _scattered_reduction(op: Op) -> str | None:
    sides = op.input_shapes[0]
    axes = sorted(axis % len(sides) for axis in op.arguments.get("dim") or ())
    axes = [axis for axis in axes if sides[axis] != 1]
    is_apart = any(b - a > 1 for a, b in pairwise(axes))
    return f"{op.kind} over axes that are no neighbours" if is_apart else None


for _chips, _precisions in ((BM, ()), (CV18XX, ("int8",))):
    rules.op(
        *("amax", "amin", "mean", "sum"),
        name="scattered-reduction" if _chips == BM else "int8-scattered-reduction",
        reason=WRONG,
        fix="reduce one axis after the other",
        chips=_chips,
        precisions=_precisions,
    )(_scattered_reduction)


@rules.op(
    *("log_softmax", "exp"),
    name="int8-exponential",
    reason=f"eight bits hold no exponential: {WRONG}",
    fix="end in the raw map and compute it on the host; a sigmoid or a softmax is fine",
    chips=CV18XX,
    precisions=("int8",),
)
def int8_exponential(op: Op) -> str | None:
    return op.kind.replace("_", " ")


@rules.op(
    "layer_norm",
    name="int8-layer-norm",
    reason=f"{WRONG} (not a number)",
    fix="use BatchNorm2d, or float16",
    chips=CV18XX,
    precisions=("int8",),
)
def int8_layer_norm(op: Op) -> str | None:
    return "layer norm of tokens" if len(op.shape) == 3 else None


@rules.op(
    "flip",
    name="flip-of-axes",
    reason="the converter dies of a list of axes",
    fix="flip one axis after the other",
)
def flip_of_axes(op: Op) -> str | None:
    return "a flip of several axes" if len(op.arguments["dims"]) > 1 else None


@rules.op(
    "flip",
    name="flip",
    reason=REFUSED,
    fix="flip along the last axis, or flip the weights that read it",
    chips=CV18XX,
)
def flip(op: Op) -> str | None:
    axes = [axis % len(op.shape) for axis in op.arguments["dims"]]
    is_wrong = len(axes) == 1 and axes[0] != len(op.shape) - 1  # several are another rule's
    return f"a flip along axis {axes[0]}" if is_wrong else None


@rules.op(
    "roll",
    name="roll",
    reason="the compiled network dies with SIGABRT",
    fix="roll along the channels, or join slices with places counted from the front",
    chips=CV18XX,
)
def roll(op: Op) -> str | None:
    axes = [axis % len(op.shape) for axis in op.arguments["dims"] or [-1]]
    return "a roll along rows or columns" if any(axis > 1 for axis in axes) else None


@rules.op(
    *("select", "slice", "index"),
    name="negative-place",
    reason=WRONG,
    fix="count from the front, as x[..., 39] of 40 columns",
    chips=CV18XX,
)
def negative_place(op: Op) -> str | None:
    if op.kind == "index":
        return predicates.negative_index(op)
    axis = op.arguments["dim"] % len(op.input_shapes[0])
    place = op.arguments["index" if op.kind == "select" else "start"]
    is_negative = isinstance(place, int) and place < 0 and axis > 1
    return f"a place of {place} on axis {axis}" if is_negative else None


@rules.op(
    "index",
    "index_select",
    name="index-list",
    reason=f"{REFUSED}, or {WRONG}",
    fix="slice and concatenate: torch.cat([x[:, 3:4], x[:, 1:2]], 1)",
    chips=CV18XX,
)
def index_list(op: Op) -> str | None:
    return "an index list"


@rules.op(
    "repeat_interleave",
    name="repeat-interleave",
    reason=REFUSED,
    fix="resize by nearest: f.interpolate(x, scale_factor=(1, 2))",
    chips=CV18XX,
)
def repeat_interleave(op: Op) -> str | None:
    axis = op.arguments.get("dim")
    is_last = isinstance(axis, int) and axis % len(op.input_shapes[0]) == 3
    return "repeat_interleave along rows" if is_last else None


@rules.op(
    "upsample_bicubic2d",
    name="bicubic",
    reason=f"it computes bilinear resizing: {WRONG}",
    fix="use nearest or bilinear",
)
def bicubic(op: Op) -> str | None:
    return "bicubic resizing"


@rules.op(
    *("permute", "transpose"),
    name="permute",
    reason=REFUSED,
    fix="move fewer axes at a time, or end in a map and transpose on the host",
    chips=CV18XX,
)
def permute(op: Op) -> str | None:
    """Measured on all orders of four axes."""
    kept = [axis for axis in predicates.axis_order(op) if op.input_shapes[0][axis] != 1]
    order = tuple(sorted(kept).index(axis) for axis in kept)
    return f"a permute of four axes to {order}" if order in _REFUSED_ORDERS else None


@rules.op(
    *("cumsum", "topk", "sort", "instance_norm", "grid_sampler", "gather"),
    *("_upsample_nearest_exact2d", "upsample_bilinear2d", "upsample_nearest2d"),
    name="host-operator",
    reason=_CPU,
    fix="resize by a whole factor, use BatchNorm2d, or end the network before it",
    severity="warning",
    chips=CV18XX,
)
def host_operator(op: Op) -> str | None:
    if op.kind not in ("upsample_bilinear2d", "upsample_nearest2d"):
        return op.kind.strip("_").replace("_", " ")
    before, after = op.input_shapes[0][2:], op.shape[2:]
    sides = list(zip(before, after, strict=True))
    is_whole = all(b % a == 0 for a, b in sides)
    if op.kind == "upsample_bilinear2d":
        is_larger = is_whole and all(b > a for a, b in sides)
        is_half = all(2 * b == a for a, b in sides)
        is_whole = (is_larger or is_half) and not op.arguments["align_corners"]
    if is_whole:
        return None
    return f"resizing of {format_shape(before)} to {format_shape(after)}"


def _operands(op: Op) -> Iterator[tuple[int, ...]]:
    """Shapes of what is combined; a number has ()."""
    for name in ("self", "input", "other"):
        if name in op.arguments:
            yield op.shape_of(name)
