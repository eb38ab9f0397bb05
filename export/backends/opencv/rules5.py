"""What OpenCV's ``dnn`` module refuses or gets wrong, 5.x: rules for ``edgeark check``.

Each was seen with OpenCV 5.0, and ``tests/export/lint/test_rule_examples.py`` sees it again. Its
new engine has fixed most of what 4.x gets wrong, and brings faults of its own: fusions that look at
too little.
"""

from __future__ import annotations

from torch import Tensor

from ....core.messages import format_shape
from ...graph.network import Op
from ...lint import common, onnx_file, predicates
from ...lint.nearest import by_ratio, nearest_rounding
from ...lint.rule_set import RuleSet
from .rules import (
    BY_RATIO,
    NO_FILTER,
    REFUSED,
    WRONG,
    gelu,
    hardsigmoid_gate,
    integer_division,
    log_of_exponentials,
    matrix_by_vector,
    unknown_operator,
)

rules = RuleSet(examples=f"{__package__}.examples5")
rules.include(onnx_file.rules)
rules.include((gelu, hardsigmoid_gate, integer_division, log_of_exponentials))

_RESHAPES = ("flatten", "reshape", "unflatten", "view")

rules.add(
    unknown_operator(
        *("upsample_nearest1d", "upsample_nearest3d", "upsample_trilinear3d"),
        *("__lshift__", "__rshift__", "col2im", "diagonal", "gru", "max_unpool2d", "trace"),
    )
)


rules.add(common.fractional_size(*("upsample_bicubic2d", "upsample_bilinear2d"), reason=BY_RATIO))


rules.add(nearest_rounding("OpenCV", by_ratio))


rules.add(
    common.antialias(
        *("_upsample_bicubic2d_aa", "_upsample_bilinear2d_aa"),
        reason=NO_FILTER,
        predicate=lambda op: "antialias=True" if predicates.is_smaller(op) else None,
    )
)


@rules.op(
    *("conv1d", "conv2d", "conv3d"),
    name="padded-1x1",
    reason="OpenCV reads past the map: other values at every run, or a crash",
    fix="pad behind the convolution, which is the same where it has no bias",
)
def padded_1x1(op: Op) -> str | None:
    """By its own padding, or by zeros in front of it, which OpenCV makes its padding."""
    weight, own = op.arguments["weight"], op.arguments["padding"]
    if not isinstance(weight, Tensor) or set(weight.shape[2:]) != {1}:
        return None
    is_own = isinstance(own, (list, tuple)) and any(own)
    return "a padded 1x1 convolution" if is_own or _is_zero_pad(op.before) else None


def _is_zero_pad(op: Op | None) -> bool:
    if op is None or op.kind != "pad" or op.arguments["mode"] != "constant":
        return False
    sides = op.arguments["pad"][: 2 * (len(op.shape) - 2)]  # the channels come behind
    return not op.arguments["value"] and any(side > 0 for side in sides)


rules.add(
    common.average_ceil_mode(
        "OpenCV divides the last windows by another number: the values are wrong"
    )
)


@rules.op(
    "group_norm",
    name="norm-behind-reshape",
    reason="OpenCV forgets the new shape",
    fix="normalise the map, and reshape behind it",
)
def norm_behind_reshape(op: Op) -> str | None:
    """Another reshape behind it makes it good."""
    before = op.before
    is_mended = not op.is_output and all(user.kind in _RESHAPES for user in op.users)
    is_behind = before is not None and before.kind in _RESHAPES
    return "group_norm behind a reshape" if is_behind and not is_mended else None


@rules.op(
    "group_norm",
    name="norm-of-vector",
    reason=REFUSED,
    fix="keep height and width: mean((2, 3), keepdim=True)",
)
def norm_of_vector(op: Op) -> str | None:
    return f"group_norm of {format_shape(op.shape)}" if len(op.shape) == 2 else None


rules.op(
    "grid_sampler",
    name="grid-sample-mode",
    reason=WRONG,
    fix="use bilinear",
)(predicates.bicubic_sample)


rules.add(common.negative_index("OpenCV reads in front of the tensor: the values are wrong"))


rules.add(matrix_by_vector(REFUSED))
