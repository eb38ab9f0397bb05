"""What of a network a Rockchip NPU cannot do: rules for ``edgeark check`` and before an export.

Each was seen on rknn-toolkit2 2.5.0, and ``test_rknn_rules.py`` sees it again: a rule that
outlives its reason fails there.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from ....core.messages import format_shape
from ...graph.network import Network, Op
from ...lint import common, onnx_file, predicates
from ...lint.rule import Match, Predicate, Rule, op_rule
from ...lint.rule_set import RuleSet
from .chips import CPU, MINI_CHIPS
from .fixes import OVERFLOW_MEND
from .pools import is_misread, is_splittable
from .rules_outputs import output_rules
from .rules_volumes import volume_rules

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)
rules.include(volume_rules)
rules.include(output_rules)

_MOST_TRANSPOSED = 8192  # pixels of a map
SMALL_TRANSPOSES = ("rk3566", "rk3568", "rv1103", "rv1106")
_SCORES = {"hardsigmoid", "sigmoid", "softmax"}  # all of these are in 0..1
_MOVES = {"cat", "flatten", "permute", "reshape", "slice", "transpose", "unsqueeze", "view"}


@rules.op(
    "upsample_bicubic2d",
    name="bicubic",
    reason="the compiler dies with SIGSEGV",
    fix="use nearest, or bilinear with align_corners=False",
)
def bicubic(op: Op) -> str | None:
    return "bicubic resizing"


rules.add(common.max_unpool("the toolkit dies of its ScatterElements"))
rules.add(common.negative_padding("the toolkit dies with SIGABRT"))


@rules.op(
    "upsample_bilinear2d",
    name="align-corners",
    reason=CPU,
    fix="use align_corners=False, or nearest",
    severity="warning",
    error_on=MINI_CHIPS,
)
def align_corners(op: Op) -> str | None:
    return "align_corners=True" if op.arguments["align_corners"] else None


@rules.op(
    "upsample_bilinear2d",
    name="broken-resize",
    reason=CPU,
    fix="resize by a whole factor, or to nearest",
    severity="warning",
    error_on=MINI_CHIPS,
)
def broken_resize(op: Op) -> str | None:
    before, after = op.input_shapes[0][2:], op.shape[2:]
    if all(max(n, m) % min(n, m) == 0 for n, m in zip(before, after, strict=True)):
        return None
    return f"bilinear resizing of {format_shape(before)} to {format_shape(after)}"


rules.op(
    *("adaptive_max_pool1d", "adaptive_max_pool2d"),
    name="uneven-maximum",
    reason=f"a Gather in front of it, and {CPU}",
    fix="choose sizes that divide the map's, or a pool with a kernel",
    severity="warning",
    error_on=MINI_CHIPS,
    chips=MINI_CHIPS,
)(predicates.uneven_pool)


@rules.op(
    "group_norm",
    "instance_norm",
    "layer_norm",
    name="norm",
    reason=CPU,
    fix="use BatchNorm2d",
    chips=MINI_CHIPS,
)
def norm(op: Op) -> str | None:
    return op.kind


@rules.op(
    "slice",
    name="strided-slice",
    reason=f"behind a layer {CPU}",
    fix="use a strided convolution; of the image itself such slices are free",
    severity="warning",
    error_on=MINI_CHIPS,
)
def strided_slice(op: Op) -> str | None:
    root = op
    while root.kind == "slice" and root.before is not None:
        root = root.before
    of_image = root.kind == "slice"
    step = op.arguments["step"]
    return None if step == 1 or of_image else f"a slice of step {step}"


@rules.op(
    *("amax", "amin", "argmax", "atan", "ceil", "celu", "cos", "erf", "exp", "flip", "floor"),
    *(
        "grid_sampler",
        "hardshrink",
        "index",
        "log",
        "log1p",
        "log_sigmoid",
        "log_softmax",
        "maximum",
    ),
    *("minimum", "mish", "repeat_interleave", "round", "selu", "sign", "sin", "softplus"),
    *("softshrink", "threshold", "topk", "where"),
    name="host-operator",
    reason=CPU,
    fix="end the network before it and compute it on the host, or build it of what stays: clamp "
    "or -max(-a, -b) for a minimum, leaky ReLU for a where, SiLU or hardswish for an exponential",
    severity="warning",
    error_on=MINI_CHIPS,
)
def host_operator(op: Op) -> str | None:
    if op.kind == "maximum":
        return "a maximum with a constant" if len(op.inputs) < 2 else None
    if op.kind == "index":  # by what the network computes: another rule's
        return "an index list" if len(op.inputs) == 1 else None
    return op.kind.replace("_", " ")


# In int8 RV1106's compiler leaves these to the CPU, and the other chips' keeps some in float16;
_MINI_HOST = ("im2col", "linalg_vector_norm", "pixel_unshuffle", "reciprocal", "rsqrt", "sqrt")
# these stay on its NPU, but for what other rules say.
_MINI_NPU = frozenset(
    {
        *("_adaptive_avg_pool2d", "_to_copy", "abs", "adaptive_avg_pool1d", "adaptive_avg_pool2d"),
        *("adaptive_avg_pool3d", "add", "alias", "avg_pool1d", "avg_pool3d", "conv3d"),
        *("avg_pool2d", "batch_norm", "bmm", "cat", "channel_shuffle", "chunk", "clamp"),
        *("clamp_max", "clamp_min", "clone", "contiguous", "conv1d", "conv2d"),
        *("conv_transpose2d", "detach", "detach_copy", "dropout", "elu", "expand"),
        *("feature_dropout", "flatten", "gelu", "hardsigmoid", "hardswish", "hardtanh"),
        *(
            "leaky_relu",
            "linear",
            "matmul",
            "max_pool2d",
            "max_pool2d_with_indices",
            "maximum",
            "mean",
            "mul",
            "narrow",
        ),
        *("neg", "pad", "permute", "pixel_shuffle", "pow", "prelu", "relu", "relu6", "repeat"),
        *("reshape", "rsub", "select", "sigmoid", "silu", "slice", "softmax", "split"),
        *("split_with_sizes", "squeeze", "stack", "sub", "sum", "tanh", "tile", "to"),
        *("transpose", "unbind", "unflatten", "unsqueeze", "upsample_nearest2d", "view"),
    }
)


@rules.op(
    *_MINI_HOST,
    *("div", "roll"),
    name="mini-host-operator",
    reason=f"{CPU}, which this chip's runtime may refuse",
    fix="use BatchNorm2d, and a product in place of a quotient, or compute it on the host",
    chips=MINI_CHIPS,
)
def mini_host_operator(op: Op) -> str | None:
    if op.kind == "div":
        is_quotient = len(op.node.all_input_nodes) > 0 and _is_computed(op, "other")
        return "a division by what the network computes" if is_quotient else None
    if op.kind == "roll":  # of channels it stays
        rank = len(op.input_shapes[0])
        is_of_channels = {dim % rank for dim in op.arguments["dims"]} == {1}
        return None if is_of_channels else "a roll of rows or columns"
    return op.kind.strip("_").replace("_", " ")


def _is_computed(op: Op, name: str) -> bool:
    return isinstance(op.arguments.get(name), fx.Node)


@rules.network(
    name="unmeasured-operator",
    severity="warning",
    reason="it was never tried on this chip, whose runtime refuses most operators of the CPU",
    fix="export it and read what the row says, or build it of listed operators (docs/rknn.md)",
    chips=MINI_CHIPS,
)
def unmeasured(network: Network) -> Iterator[Match]:
    known = _MINI_NPU.union(*(rule.operators for rule in rules))
    for op in network.ops:
        is_aten = isinstance(op.node.target, torch._ops.OpOverload)
        if is_aten and op.input_shapes and op.kind not in known:
            yield Match(op, op.kind.strip("_").replace("_", " "))


@rules.op(
    "avg_pool2d",
    "max_pool2d",
    name="pool-stride",
    severity="warning",
    reason="it does not fit its register, and a board may compute something else",
    fix=OVERFLOW_MEND,
)
def pool_stride(op: Op) -> str | None:
    """The register holds 7; the compiler halves even strides first, and of max pools 9 by 3."""
    most = 9 if op.kind == "max_pool2d" else 7
    is_global = op.shape[2:] == (1, 1)  # it becomes a convolution
    if is_global or all(_odd_part(stride) <= most for stride in op.stride):
        return None
    return f"a pool of stride {format_shape(op.stride)}"


def _large_transpose(chips: tuple[str, ...], orders: tuple[tuple[int, ...], ...]) -> None:
    @rules.op(
        "permute",
        "transpose",
        name="large-transpose",
        reason=CPU,
        fix="end in [N, C, H, W] and transpose on the host, or transpose a smaller map",
        severity="warning",
        error_on=MINI_CHIPS,
        chips=chips,
    )
    def large_transpose(op: Op) -> str | None:
        """Behind a transpose the compiler finds a layout; at an output it has to move the map."""
        shape = next(iter(op.input_shapes), ())
        is_large = len(shape) == 4 and shape[2] * shape[3] > _MOST_TRANSPOSED
        if not (is_large and op.is_output and predicates.axis_order(op) in orders):
            return None
        return f"a {op.kind} of {format_shape(shape)}"


_MOVED = ((0, 2, 3, 1), (0, 3, 1, 2), (0, 2, 1, 3))
_large_transpose(SMALL_TRANSPOSES[:2], (*_MOVED, (0, 1, 3, 2)))
_large_transpose(SMALL_TRANSPOSES[2:], _MOVED)


@rules.op(
    "index_select",
    name="places-of-a-mean",
    reason="the toolkit refuses the network",
    fix="select from the map first: x.index_select(1, places).mean((2, 3))",
)
def places_of_a_mean(op: Op) -> str | None:
    before = op.before
    while before is not None and before.kind in ("flatten", "reshape", "squeeze", "view"):
        before = before.before
    if before is None or not _is_mean_of_whole_map(before):
        return None
    return "places of the mean of a map"


def _is_mean_of_whole_map(op: Op) -> bool:
    if op.kind == "mean":
        return predicates.is_mean_of_map(op)
    return op.kind in ("adaptive_avg_pool2d", "avg_pool2d") and op.shape[-2:] == (1, 1)


def misread_pool(op: Op) -> str | None:
    size = op.input_shapes[0][-2:]
    if op.stride != (1, 1) or not is_misread(op.kernel, size):
        return None
    return f"a {format_shape(op.kernel)} max pool over {format_shape(size)}"


def _unsplittable_pool(op: Op) -> str | None:
    """What can be written as 3x3 pools is, on the ONNX route."""
    is_split = is_splittable(op.kernel, op.pair("padding", 0) * 2) and op.pair("dilation") == (1, 1)
    return None if is_split else misread_pool(op)


def global_max_pool(predicate: Predicate) -> Rule:
    rule = op_rule(
        "max_pool2d",
        name="global-max-pool",
        reason="the toolkit silently takes the maximum of the whole map",
        fix="use an odd kernel padded by half of it, which the ONNX route writes as 3x3 pools, "
        "or a larger input",
    )
    return rule(predicate)


@rules.network(
    name="joined-outputs",
    severity="warning",
    reason="one int8 range for all of it leaves scores a few steps",
    fix="end in the raw map of each scale, and decode on the host",
)
def joined_outputs(network: Network) -> Iterator[Match]:
    for op in network.ops:
        kinds = {part.kind for part in _parts(op)} if op.is_output else set()
        if kinds & _SCORES and kinds - _SCORES:
            yield Match(op, "scores and other values in one output")


def _parts(op: Op) -> Iterator[Op]:
    """What the values of ``op`` are, looking through what only moves them."""
    if op.kind not in _MOVES:
        yield op
        return
    for source in op.inputs:
        if source is not None:
            yield from _parts(source)


def _odd_part(number: int) -> int:
    while number % 2 == 0:
        number //= 2
    return number


rules.add(global_max_pool(_unsplittable_pool))
