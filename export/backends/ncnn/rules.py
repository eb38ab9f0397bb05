"""What pnnx does not make into ncnn's layers, or not rightly: rules for ``edgeark check``.

Each was seen with pnnx 20261020 and ncnn 1.0.20261020, and ``test_rule_examples.py`` sees it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx

from ....core.messages import format_shape
from ...graph.network import Network, Op
from ...lint import common, predicates
from ...lint.nearest import by_inverse, nearest_rounding
from ...lint.rule import Match
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")

_NOT_LOADED = "pnnx writes a layer that ncnn does not load"
_WRONG = "ncnn computes something else, without a word"
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge", "where")
_DECISIONS = ("argmax", "argmin", "topk", "sort", "_upsample_nearest_exact2d")


rules.op(
    "slice",
    name="strided-slice",
    reason=f"ncnn slices with step 1 alone: {_NOT_LOADED}",
    fix="use a strided convolution: Focus with a 3x3 convolution equals a 6x6 one of stride 2 and "
    "padding 2",
)(predicates.strided_slice)


@rules.op(
    *_DECISIONS,
    *("channel_shuffle", "index", "var", "std", "bmm"),
    *("addcmul", "argsort", "cdist", "cosine_similarity", "diagonal", "embedding", "exp2"),
    *("frac", "gather", "hypot", "index_select", "isfinite", "isinf", "isnan", "lerp", "log2"),
    *("masked_fill", "movedim", "pairwise_distance", "repeat_interleave", "rot90", "rrelu"),
    *("scatter", "threshold", "tile", "tril", "triu", "unfold", "var_mean"),
    *_COMPARISONS,
    name="unknown-operator",
    reason=_NOT_LOADED,
    fix="build it of convolutions, activations, sums, products and pools, or end the network "
    "before it and compute it on the host",
)
def unknown(op: Op) -> str | None:
    return op.kind


@rules.op(
    "unbind",
    name="unbind-of-the-first-axis",
    reason=f"pnnx takes it for the batch: {_NOT_LOADED}",
    fix="divide along another axis: q, k, v = qkv.chunk(3, 2)",
)
def unbind_first(op: Op) -> str | None:
    rank = len(op.input_shapes[0])
    return f"unbind(0) of {rank} axes" if op.arguments["dim"] % rank == 0 else None


# What pnnx takes for an activation: the last operator, and those of its other argument.
_PATTERNS = {"div": ("add", "abs"), "sub": ("tanh",)}


@rules.op(
    *("div", "softmax", "sub"),
    name="unread-pattern",
    reason=f"pnnx makes one layer of several operators: {_NOT_LOADED}",
    fix="give them in another form: (-1.0 * x).softmax(1), x + -1.0 * x.tanh(), "
    "x * (x.abs() + 1).reciprocal()",
)
def unread_pattern(op: Op) -> str | None:
    """Softmin, x - tanh(x) and x / (|x| + 1)."""
    if op.kind == "softmax":
        before = op.before
        return "a softmax of a negative" if before is not None and before.kind == "neg" else None
    node, kinds = op.arguments["other"], _PATTERNS[op.kind]
    for kind in kinds:
        part = op.network.by_node.get(node) if isinstance(node, fx.Node) else None
        if part is None or part.kind != kind:
            return None
        node = part.node.args[0]
    return f"{op.kind} behind {' and '.join(kinds)}" if node is op.node.args[0] else None


rules.add(common.dilated_pool(_NOT_LOADED))


rules.add(common.max_unpool("PyTorch cannot trace it, and pnnx reads traces"))


rules.add(common.average_ceil_mode(f"it divides the last windows by another number: {_WRONG}"))


rules.add(common.circular_padding(_WRONG))


rules.add(nearest_rounding("ncnn", by_inverse))


@rules.op(
    "_upsample_nearest_exact1d",
    name="nearest-exact",
    reason=f"ncnn resizes as mode='nearest' does: {_WRONG}",
    fix="use mode='nearest', or a whole factor, where the two are the same",
)
def nearest_exact(op: Op) -> str | None:
    before, after = op.input_shapes[0][-1], op.shape[-1]
    return f"nearest-exact resizing of {before} to {after}" if after % before else None


@rules.op(
    "layer_norm",
    name="layer-norm-of-maps",
    reason=f"ncnn normalises over one or two dimensions: {_WRONG}",
    fix="use BatchNorm2d or GroupNorm",
)
def layer_norm_of_maps(op: Op) -> str | None:
    shape = op.arguments["normalized_shape"]
    return f"layer norm over {len(shape)} dimensions" if len(shape) > 2 else None


@rules.op(
    "avg_pool2d",
    "max_pool2d",
    name="pool-without-stride",
    reason="pnnx dies with SIGSEGV",
    fix="say the stride, or use nn.AvgPool2d or nn.MaxPool2d, which write it out",
)
def pool_without_stride(op: Op) -> str | None:
    return "a pool by its function, without a stride" if op.arguments["stride"] == [] else None


@rules.op(
    "linalg_vector_norm",
    name="normalize-axis",
    reason=f"pnnx makes one layer of it, which normalises maps over their channels alone: {_WRONG}",
    fix="write it out: x / (x * x).sum(2, True).sqrt().clamp(min=1e-12)",
)
def normalize_axis(op: Op) -> str | None:
    """What ``F.normalize`` is made of: a norm, its clamp, and a quotient of the same tensor."""
    if not _is_clamped(op):
        return None
    if op.arguments["ord"] != 2:
        return f"normalize by a norm of order {op.arguments['ord']}"
    rank, dims = len(next(iter(op.input_shapes), ())), op.arguments["dim"] or ()
    axes = [dim % rank for dim in dims]
    if rank == 2 or (rank == 4 and axes == [1]):
        return None
    return f"normalize over axis {', '.join(map(str, axes))} of {rank}"


def _is_clamped(op: Op) -> bool:
    return any(user.kind in ("clamp", "clamp_min") for user in op.users)


@rules.op(
    "linalg_vector_norm",
    name="norm-order",
    reason=f"pnnx takes it for that of order 2, over all axes: {_WRONG}",
    fix="write it out: x.abs().pow(3).sum(1, True).pow(1 / 3)",
)
def norm_order(op: Op) -> str | None:
    order = op.arguments["ord"]
    return None if order in (1, 2) or _is_clamped(op) else f"a norm of order {order}"


@rules.op(
    *("upsample_nearest3d", "_upsample_nearest_exact3d", "upsample_trilinear3d"),
    *("pixel_shuffle", "pixel_unshuffle"),
    name="resize-of-volumes",
    reason="ncnn resizes maps alone: the shape is wrong, or nothing is computed",
    fix="resize the map of each depth: x.flatten(1, 2), then unflatten",
)
def resize_of_volumes(op: Op) -> str | None:
    rank = len(op.input_shapes[0])
    return f"{op.kind} of {rank} axes" if rank > 4 else None


@rules.op(
    "pad",
    name="negative-padding",
    reason=f"where another side is padded, {_NOT_LOADED}",
    fix="crop by a slice: x[..., 1:-1], and pad what is left",
)
def mixed_padding(op: Op) -> str | None:
    widths = op.arguments["pad"]
    return predicates.negative_padding(op) if max(widths) > 0 else None


@rules.op(
    *("permute", "transpose", "view", "reshape", "unflatten", "unsqueeze", "stack"),
    name="many-axes",
    reason=_NOT_LOADED,
    fix="reshape and transpose in steps of at most five axes",
)
def many_axes(op: Op) -> str | None:
    """An axis of length 1 that goes again at once leaves no layer."""
    if len(op.shape) <= 5 or (op.users and all(user.kind == "squeeze" for user in op.users)):
        return None
    return f"a {op.kind} to {len(op.shape)} axes"


@rules.network(
    name="output-without-batch",
    reason="ncnn knows no batch axis, so that one is put in front of every output",
    fix="keep the batch axis: flatten(1), not flatten(0), view(-1) or squeeze()",
)
def without_batch(network: Network) -> Iterator[Match]:
    for op in network.ops:
        if op.is_output and op.shape[:1] != (1,):
            yield Match(op, f"an output of {format_shape(op.shape) or 'one number'}")
