"""Which flat tensors a Rockchip NPU leaves to the CPU: it computes in maps ``[N, C, H, W]``.

Measured one by one on outputs of 1 to 1000 values, in float16 and int8, of ten kinds of networks.
"""

from __future__ import annotations

from math import prod

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint.rule_set import RuleSet
from .chips import CPU

output_rules = RuleSet(examples=f"{__package__}.examples")

FLAT_ON_CPU = ("rk3588",)
OLDER_CHIPS = ("rk3566", "rk3568")
_FLATTEN = ("flatten", "reshape", "view")
_VECTOR_KINDS = (
    *("add", "addmm", "div", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu"),
    *("linear", "matmul", "mean", "mm", "mul", "relu", "relu6", "sigmoid", "silu", "squeeze"),
    *("sub", "tanh"),
)
_MOST_SIDE = 7  # of a map in front of a fully connected layer, which becomes a kernel of that size
_MOST_BYTES = 6144  # of such a map


def _ends(op: Op) -> bool:
    """Whether it is an output, or joined with others to one."""
    return op.is_output or any(user.kind == "cat" and _ends(user) for user in op.users)


def _flattens(op: Op) -> bool:
    """Whether the last two axes of a map become one with others."""
    shape = next(iter(op.input_shapes), ())
    return len(shape) >= 4 and op.shape[-2:] != shape[-2:]


def _joins_pixels(op: Op) -> bool:
    """Whether they are of more than one pixel."""
    return _flattens(op) and op.input_shapes[0][-2:] != (1, 1)


def _unread(op: Op) -> int:
    """How many values the compiler reads as one of what a flat output is made of; 0: of none.

    Those of the last two axes; of a map of one pixel, its channels.
    """
    if not (_flattens(op) and _ends(op)):
        return 0
    *_, channels, height, width = op.input_shapes[0]
    return height * width if _joins_pixels(op) else channels


def _is_off(count: int, step: int, precisions: tuple[str, ...]) -> bool:
    """No multiple of ``step``; in a precision of its own, only what half the step lets pass."""
    return count % step == step // 2 if precisions else count % step != 0


def _flat_output(name: str, step: int, *precisions: str) -> None:
    """On outputs of 1x1 to 8x8 pixels and 4 to 126 channels, in all usual orders."""

    def predicate(op: Op) -> str | None:
        count = _unread(op)
        return (
            f"a flat output of rows of {count} values" if _is_off(count, step, precisions) else None
        )

    output_rules.op(
        *_FLATTEN,
        name=name,
        severity="warning",
        reason=f"a Reshape on the CPU, as rows are no multiple of {step}",
        fix="end in the map [N, C, H, W], and permute and flatten on the host",
        chips=FLAT_ON_CPU,
        precisions=precisions,
    )(predicate)


_flat_output("flat-output", 8)
_flat_output("int8-flat-output", 16, "int8")


def _vector_output(name: str, step: int, chips: tuple[str, ...], *precisions: str) -> None:
    """Rows of 2 * ``step`` hold in int8 for what rows of ``step`` hold in float16."""
    kinds = _VECTOR_KINDS if chips == FLAT_ON_CPU else (*_VECTOR_KINDS, *_FLATTEN)

    def predicate(op: Op) -> str | None:
        if not op.is_output or len(op.shape) != 2 or _joins_pixels(op):
            return None
        count = op.shape[1]
        return f"an output of {count} values" if _is_off(count, step, precisions) else None

    output_rules.op(
        *kinds,
        name=name,
        severity="warning",
        reason=f"a Reshape on the CPU, as they are no multiple of {step}",
        fix="end in the map [N, C, 1, 1]: a 1x1 convolution in place of the fully connected layer",
        chips=chips,
        precisions=precisions,
    )(predicate)


_vector_output("vector-output", 8, FLAT_ON_CPU)
_vector_output("int8-vector-output", 16, FLAT_ON_CPU, "int8")
_vector_output("vector-output", 4, OLDER_CHIPS)
_vector_output("int8-vector-output", 8, OLDER_CHIPS, "int8")


@output_rules.op(
    *_FLATTEN,
    name="flat-map",
    severity="warning",
    reason="a Reshape on the CPU",
    fix="end in the map [N, C, H, W], and flatten on the host",
    chips=OLDER_CHIPS,
)
def flat_map(op: Op) -> str | None:
    is_flat = _joins_pixels(op) and _ends(op)
    return f"an output of {format_shape(op.input_shapes[0])} made flat" if is_flat else None


def _large_flatten(name: str, most_values: int, *precisions: str) -> None:
    def predicate(op: Op) -> str | None:
        is_read = any(user.kind in ("linear", "addmm") for user in op.users)
        if not (is_read and _joins_pixels(op) and len(op.shape) == 2):
            return None
        _, *shape = op.input_shapes[0]
        is_large = max(shape[-2:]) > _MOST_SIDE
        if precisions:  # the other rule's
            is_large = not is_large and most_values < prod(shape) <= 2 * most_values
        else:
            is_large = is_large or prod(shape) > most_values
        return f"a map of {format_shape(shape)} made flat" if is_large else None

    output_rules.op(
        *_FLATTEN,
        name=name,
        severity="warning",
        reason="a Reshape on the CPU, in front of the fully connected layer",
        fix="pool to a smaller map, or take its mean",
        chips=OLDER_CHIPS,
        precisions=precisions,
    )(predicate)


_large_flatten("large-flatten", _MOST_BYTES)
_large_flatten("float16-large-flatten", _MOST_BYTES // 2, "float16")


@output_rules.op(
    "softmax",
    name="softmax",
    severity="warning",
    reason=CPU,
    fix="end in the logits, and take the softmax on the host",
    chips=OLDER_CHIPS,
)
def softmax(op: Op) -> str | None:
    return "a softmax"
