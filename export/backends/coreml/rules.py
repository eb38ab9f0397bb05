"""What coremltools refuses or gets wrong: rules for ``edgeark check``.

Each was seen with coremltools 9.0, and ``test_coreml_rules.py`` sees it again.
"""

from __future__ import annotations

from ...graph.network import Op
from ...lint import common
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")

_REFUSED = "coremltools refuses it"


@rules.op(
    *("addcmul", "cdist", "celu", "channel_shuffle", "fmod", "hardshrink", "index_add", "lerp"),
    *("log_sigmoid", "max_pool2d_with_indices", "pixel_unshuffle", "prod", "rot90", "softshrink"),
    *("trunc", "upsample_bicubic2d", "_upsample_nearest_exact2d", "upsample_nearest3d"),
    name="unknown-operator",
    reason=_REFUSED,
    fix="build it of others (a channel shuffle of view and transpose, a pixel unshuffle of slices "
    "and cat), or end the network before it and compute it on the host",
)
def unknown(op: Op) -> str | None:
    return op.kind


rules.add(
    common.antialias(
        "_upsample_bilinear2d_aa",
        reason="coremltools drops the filter without a word: the values are wrong",
    )
)


rules.add(common.fractional_size("upsample_bilinear2d", reason=_REFUSED))


rules.add(common.dilated_pool(_REFUSED))


rules.add(common.divisor_override(_REFUSED))


rules.add(common.circular_padding(_REFUSED))


rules.add(common.negative_padding(_REFUSED))
