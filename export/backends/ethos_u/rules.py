"""What Vela leaves to the microcontroller, or refuses: rules for ``edgeark check``.

Each was seen with Vela 5.2, and ``test_ethos_u_rules.py`` sees it again. LiteRT's rules hold
too, since Vela reads its files.
"""

from __future__ import annotations

import math

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import predicates
from ...lint.rule_set import RuleSet
from ..litert import rules as litert

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(litert.rules)

SMALL_CHIPS = ("u55-128", "u55-32", "u55-64", "u55-256", "u65-256", "u65-512")
U85_CHIPS = ("u85-128", "u85-256", "u85-512", "u85-1024", "u85-2048")
_CPU = "Vela leaves it to the microcontroller's CPU"
_DOUBLE = "double the map: nearest, or bilinear with align_corners=False"


@rules.op(
    "argmax",
    name="argmax",
    reason="Vela refuses the file",
    fix="end the network before it and compute it on the host",
)
def argmax(op: Op) -> str | None:
    return op.kind


@rules.op(
    *("elu", "mish", "softplus"),
    name="int8-exponential",
    severity="warning",
    reason="its exponential in int8 leaves nearly nothing of the values",
    fix="use SiLU, Hardswish or ReLU",
)
def int8_exponential(op: Op) -> str | None:
    return op.kind


@rules.op(
    "mean",
    name="cpu-mean",
    severity="warning",
    reason=_CPU,
    fix="keep the dimensions: mean((2, 3), keepdim=True).flatten(1)",
)
def cpu_mean(op: Op) -> str | None:
    drops = predicates.is_mean_of_map(op) and not op.arguments["keepdim"]
    return "a mean of a map without keepdim" if drops else None


@rules.op(
    *("abs", "amax", "exp", "floor", "gt", "index", "leaky_relu", "log", "round", "sin", "sqrt"),
    *("adaptive_max_pool2d", "argsort", "group_norm", "instance_norm", "sort", "topk"),
    name="cpu-operator",
    severity="warning",
    reason=_CPU,
    fix="build it of convolutions, pools, ReLU, ReLU6, SiLU, Hardswish, sigmoid, tanh, sums and "
    "products",
)
def cpu_operator(op: Op) -> str | None:
    return op.kind.replace("_", " ")


@rules.op(
    "upsample_bilinear2d",
    name="cpu-resize",
    severity="warning",
    chips=U85_CHIPS,
    reason=_CPU,
    fix=_DOUBLE,
)
def resize_of_u85(op: Op) -> str | None:
    is_power = all(math.log2(factor).is_integer() for factor in _factors(op))
    return None if is_power else _resizing(op)


@rules.op(
    "upsample_bilinear2d",
    "upsample_nearest2d",
    name="cpu-resize",
    severity="warning",
    chips=SMALL_CHIPS,
    reason=_CPU,
    fix=_DOUBLE,
)
def resize(op: Op) -> str | None:
    factors = _factors(op)
    has_halves = op.arguments.get("align_corners") is False
    is_taken = len(factors) == 1 and factors <= ({1, 2} if has_halves else {1, 2, 4, 8})
    return None if is_taken else _resizing(op)


@rules.op(
    "conv_transpose2d",
    name="cpu-transposed-convolution",
    severity="warning",
    chips=SMALL_CHIPS,
    reason=_CPU,
    fix="use stride 2",
)
def transposed(op: Op) -> str | None:
    is_taken = op.stride in ((1, 1), (2, 2))
    return None if is_taken else f"a transposed convolution with stride {format_shape(op.stride)}"


@rules.op(
    "conv2d",
    name="cpu-depthwise-stride",
    severity="warning",
    chips=SMALL_CHIPS,
    reason=_CPU,
    fix="use stride 2 or 3, or a dense convolution",
)
def depthwise_stride(op: Op) -> str | None:
    if predicates.is_depthwise(op) and max(op.stride) > 3:
        return f"a depthwise convolution with stride {format_shape(op.stride)}"
    return None


def _factors(op: Op) -> set[float]:
    """By how much a map grows, by height and by width; aligned corners are between pixels."""
    ends = 1 if op.arguments.get("align_corners") else 0
    sides = zip(op.input_shapes[0][2:], op.shape[2:], strict=True)
    return {max(new - ends, 1) / max(old - ends, 1) for old, new in sides}


def _resizing(op: Op) -> str:
    return f"resizing {format_shape(op.input_shapes[0][2:])} to {format_shape(op.shape[2:])}"
