"""What of volumes a Rockchip NPU cannot do, and of other tensors of more than four axes."""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.network import Network, Op
from ...lint.rule import Match
from ...lint.rule_set import RuleSet
from .chips import CPU, MINI_CHIPS

volume_rules = RuleSet(examples=f"{__package__}.examples")


@volume_rules.op(
    *("max_pool3d", "max_pool3d_with_indices", "adaptive_max_pool3d"),
    name="pool-of-volumes",
    reason="the compiler dies with SIGABRT",
    fix="pool each plane by a 2-D pool, or take an average",
)
def pool_of_volumes(op: Op) -> str | None:
    """The maximum of a whole volume is another operator."""
    is_whole = op.kind == "adaptive_max_pool3d" and op.shape[2:] == (1, 1, 1)
    return None if is_whole else "a 3-D max pool"


@volume_rules.op(
    "adaptive_max_pool3d",
    name="maximum-of-a-volume",
    reason=CPU,
    fix="take the maximum of a map: x.flatten(2, 3)",
    severity="warning",
    error_on=MINI_CHIPS,
)
def maximum_of_a_volume(op: Op) -> str | None:
    return "the maximum of a volume" if op.shape[2:] == (1, 1, 1) else None


@volume_rules.op(
    *("upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_trilinear3d"),
    name="resize-of-volumes",
    reason="the compiler dies with SIGABRT",
    fix="resize the planes one by one: fold the depth into the channels",
)
def resize_of_volumes(op: Op) -> str | None:
    return "a 3-D resize"


@volume_rules.network(
    name="output-of-six-axes",
    reason="the compiler dies with SIGABRT",
    fix="join two axes: x.flatten(1, 2)",
    chips=MINI_CHIPS,
)
def output_of_six_axes(network: Network) -> Iterator[Match]:
    for op in network.ops:
        if op.is_output and len(op.shape) > 5:
            yield Match(op, f"an output of {len(op.shape)} axes")
