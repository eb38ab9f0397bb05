"""Rules of the target ``k210``: what edgeark's compiler refuses, and what costs dearly.

An error is a refusal of the compiler's (``export/kpu/check.py``, ``lower.py``), said before it runs
and with the line of the user's code. Only the compiler knows when the maps of several branches fill
the KPU's memory together.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....words import format_shape
from ...graph.network import Network, Op
from ...kpu.compiler.check import MAX_CHANNELS, MAX_HEIGHT, MAX_WIDTH, SMALLEST_MAP
from ...kpu.layer import KPU_ROWS, MAIN_BYTES, MAIXPY_BYTES, ROW_BYTES
from ...lint.rule import Match, Rule, op_rule
from . import predicates as kpu

_CAMERA = (240, 320)

# Operators that neither the KPU nor the firmware has: a rule's name, their kinds, the fix.
_MISSING: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "transposed-convolution",
        ("conv_transpose2d",),
        "upsample by nearest and convolve: nn.Upsample(scale_factor=2), then a 3x3",
    ),
    ("prelu", ("prelu",), "use ReLU or LeakyReLU, whose slope is one number"),
    (
        "activation",
        ("selu", "celu", "abs", "pow", "sqrt", "log", "erf", "log_sigmoid", "softsign"),
        "use ReLU, ReLU6, LeakyReLU, SiLU, Hardswish, Mish, ELU, sigmoid or tanh",
    ),
    (
        "normalization",
        ("instance_norm", "layer_norm", "group_norm"),
        "use batch normalisation right behind a convolution: it folds away",
    ),
    (
        "slice",
        ("slice", "select", "split", "split_with_sizes", "chunk"),
        "take it out of the network; in place of a split, convolve twice",
    ),
    (
        "transpose",
        ("permute", "transpose", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
        "keep the channels in front, and decode outside of the network",
    ),
    (
        "resize",
        ("upsample_bilinear2d", "upsample_bicubic2d"),
        "upsample by nearest with a whole factor",
    ),
    (
        "padding-layer",
        ("pad", "constant_pad_nd"),
        "give the next convolution padding=1, the same on all sides; (0,1,0,1) has no place",
    ),
    ("product", ("matmul", "bmm", "scaled_dot_product_attention"), "use convolutions"),
    ("max-of-maps", ("amax",), "use nn.MaxPool2d of the map's size, or a mean"),
    ("log-softmax", ("log_softmax", "argmax"), "take it out of the network"),
)
_KNOWN = frozenset(
    {
        *(kpu.FUNCTIONS | kpu.ARITHMETIC | kpu.NOTHING),
        *("conv2d", "batch_norm", "linear", "gelu", "max_pool2d", "avg_pool2d"),
        *("adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "softmax", "cat"),
        "upsample_nearest2d",
        *(name for _, kinds, _ in _MISSING for name in kinds),
    }
)
_KPU_LIMITS = (
    op_rule(
        "conv2d",
        name="kernel",
        reason="the KPU has 1x1 and 3x3",
        fix="use 3x3 ones in its place: two reach as far as a 5x5",
    )(kpu.other_kernel),
    op_rule(
        "conv2d",
        name="groups",
        reason="the KPU has dense and depthwise convolutions",
        fix="use groups=1, or as many as channels",
    )(kpu.grouped),
    op_rule(
        "conv2d",
        name="dilation",
        reason="the KPU's kernels have no holes",
        fix="use dilation=1, with a stride before it",
    )(kpu.dilated),
    op_rule(
        "conv2d",
        name="stride",
        reason="the KPU has 1 and 2, the same both ways",
        fix="use stride 2, or 2 and a pool",
    )(kpu.other_stride),
    op_rule(
        "conv2d",
        name="odd-map",
        reason="the KPU keeps one pixel of each 2x2, and drops the last line",
        fix="use an input whose sides can be halved that often",
    )(kpu.odd_halving),
    op_rule(
        "conv2d",
        name="padding",
        reason="the KPU pads a 3x3 kernel by one pixel on all sides, and a 1x1 by none",
        fix="use padding=1 with 3x3 and padding=0 with 1x1",
    )(kpu.other_padding),
    op_rule(
        "conv2d",
        name="channels",
        reason=f"the KPU ends at {MAX_CHANNELS}",
        fix="make it narrower",
    )(kpu.many_channels),
    op_rule(
        *("conv2d", "max_pool2d", "avg_pool2d"),
        name="small-map",
        reason=f"the KPU's smallest is {SMALLEST_MAP}x{SMALLEST_MAP}",
        fix="use a larger input or fewer strides; a head's 1x1 belongs in front of the pool",
    )(kpu.small_map),
    op_rule(
        "conv2d",
        name="large-map",
        reason=f"the KPU's largest is {MAX_HEIGHT}x{MAX_WIDTH} (height x width)",
        fix="use a smaller input",
    )(kpu.large_map),
)


@op_rule(
    "conv2d",
    name="kpu-memory",
    reason="the KPU has 2 MiB",
    fix="use a smaller input, fewer channels, or an earlier stride",
)
def kpu_memory(op: Op) -> str | None:
    rows = 0 if kpu.is_fully_connected(op) else kpu.kpu_rows(op)
    if rows <= KPU_ROWS:
        return None
    return f"maps of {rows * ROW_BYTES / 2**20:.2f} MiB, in and out"


@op_rule(
    *("max_pool2d", "avg_pool2d"),
    name="pool",
    reason="the KPU has 2x2 and 4x4 pools, the CPU max pools without ceil_mode and dilation",
    fix="use 2x2 with stride 2, 4x4 with stride 4, or the whole map",
)
def pool(op: Op) -> str | None:
    side = format_shape(op.kernel)
    return None if kpu.pool_place(op) else f"{op.kind} of {side}"


@op_rule(
    *("adaptive_avg_pool2d", "mean"),
    name="mean",
    reason="there are means of whole maps, of 2x2 and of 4x4 pixels",
    fix="use nn.AvgPool2d of the map's size, or mean((2, 3))",
)
def mean(op: Op) -> str | None:
    if op.kind == "mean":
        rank = len(op.input_shapes[0])
        dims = sorted(dim % rank for dim in op.arguments["dim"] or range(rank))
        return None if rank == 4 and dims == [2, 3] else f"a mean over dimensions {dims}"
    kernel = {a / b for a, b in zip(kpu.shape_in(op)[1:], op.shape[2:], strict=True)}
    if op.shape[2:] == (1, 1) or ((kernel <= {2} or kernel <= {4}) and min(op.shape[2:]) >= 4):
        return None
    return f"an adaptive pool to {op.shape[2]}x{op.shape[3]}"


@op_rule(
    name="gelu",
    reason="its Erf is no function that the compiler knows",
    fix="use SiLU or Hardswish, or approximate='tanh'",
)
def gelu(op: Op) -> str | None:
    exact = op.kind == "gelu" and op.arguments["approximate"] == "none"
    return "exact GELU" if exact else None


@op_rule(
    *kpu.ARITHMETIC,
    "batch_norm",
    name="normalization-inside",
    reason="a convolution's table has one function for all channels",
    fix="batch normalisation belongs right behind a convolution; an image's mean and std in the "
    "spec, which folds them into the first layer",
)
def normalization_inside(op: Op) -> str | None:
    return kpu.channel_constants(op)


@op_rule(
    *kpu.ARITHMETIC,
    name="two-tensors",
    reason="the firmware adds two tensors of one shape, and does no other arithmetic with two",
    fix="add tensors of one shape; a gate such as an SE block has to go",
)
def two_tensors(op: Op) -> str | None:
    if not kpu.different_tensors(op):
        return None
    if op.kind == "add" and len(set(op.input_shapes)) == 1:
        return None
    return f"{op.kind} of {' and '.join(str(list(s)) for s in op.input_shapes)}"


@op_rule(
    "cat",
    name="concat",
    reason="the firmware joins bytes end to end, which are channels",
    fix="concatenate along dimension 1",
)
def concat(op: Op) -> str | None:
    dim = op.arguments["dim"]
    return None if dim % len(op.shape) == 1 else f"a concatenation along dimension {dim}"


@op_rule(
    "upsample_nearest2d",
    name="upsample-factor",
    reason="the firmware's resize is exact for whole factors alone",
    fix="use scale_factor=2",
)
def upsample_factor(op: Op) -> str | None:
    old, new = shape_pair = (op.input_shapes[0][2:], op.shape[2:])
    whole = all(b % a == 0 for a, b in zip(old, new, strict=True))
    return None if whole else " to ".join(format_shape(s) for s in shape_pair)


@op_rule(
    "softmax",
    name="softmax",
    reason="the firmware's is over one vector",
    fix="take it out of the network",
)
def softmax(op: Op) -> str | None:
    long = sum(side > 1 for side in op.shape[1:])
    return f"a softmax of {list(op.shape)}" if long > 1 else None


@op_rule(
    "linear",
    name="linear-of-a-map",
    reason="a fully connected layer takes one vector",
    fix="flatten in front of it, or use a 1x1 convolution",
)
def linear_of_a_map(op: Op) -> str | None:
    shape = op.input_shapes[0]
    return None if len(shape) == 2 else f"a linear layer of {list(shape)}"


def _missing_rule(name: str, kinds: tuple[str, ...], fix: str) -> Rule:
    reason = "neither the KPU nor the firmware's interpreter has it"

    @op_rule(name=name, reason=reason, fix=fix)
    def missing(op: Op) -> str | None:
        return op.kind if op.kind in kinds else None

    return missing


@op_rule(
    name="unknown-operator",
    severity="warning",
    reason="no rule is about it; the compiler decides",
    fix="try the export, or leave it out",
)
def unknown(op: Op) -> str | None:
    told = op.kind in _KNOWN or op.kind.startswith(("_assert", "<"))
    return None if told else op.kind


def _find_input(network: Network) -> Iterator[Match]:
    for shape in network.input_shapes:
        height, width = shape[2:] if len(shape) == 4 else (0, 0)
        if height > _CAMERA[0] or width > _CAMERA[1]:
            yield Match(None, f"an input of {height}x{width}")


camera = Rule(
    "camera",
    "warning",
    "MaixPy's camera gives 240x320 (height x width)",
    "use an input that the camera can give",
    _find_input,
)


def _find_weights(limit: int) -> Rule:
    severity = "error" if limit == MAIN_BYTES else "warning"
    whose = "the chip's 6 MiB" if limit == MAIN_BYTES else "3.5 MB that MaixPy leaves"

    def find(network: Network) -> Iterator[Match]:
        size = kpu.weight_bytes(network)
        if size > limit:
            yield Match(None, f"{size / 1e6:.1f} MB of weights")

    fix = "make it narrower, or shallower"
    return Rule("main-memory", severity, f"they have to fit {whose}, with all else", fix, find)


@op_rule(
    *("max_pool2d", "avg_pool2d"),
    name="pool-of-a-skip",
    severity="warning",
    reason="a pool is part of the convolution in front, which then has no whole result; the "
    "compiler pools in one more 1x1 layer",
    fix="nothing to do for edgeark's compiler; for nncase, a dense 1x1 identity in front of the "
    "pool keeps it on the KPU",
)
def pool_of_a_skip(op: Op) -> str | None:
    return kpu.pool_of_a_skip(op) if kpu.pool_place(op) == "KPU" else None


@op_rule(
    "conv2d",
    name="depthwise-stride",
    severity="warning",
    reason="the KPU cannot stride it; the compiler adds a 1x1 layer that does",
    fix="let a dense 1x1 convolution follow, as in MobileNet: it takes the stride for nothing",
)
def depthwise_stride(op: Op) -> str | None:
    return kpu.lonely_depthwise_stride(op)


@op_rule(
    *("conv2d", "linear"),
    name="large-linear",
    severity="warning",
    reason=f"above {MAX_CHANNELS} it is the CPU's, in float32 with four bytes a weight",
    fix="pool to a mean first, or use a 1x1 convolution in front of the pool",
)
def large_linear(op: Op) -> str | None:
    return kpu.many_features(op)


@op_rule(
    "conv2d",
    name="head-on-a-pixel",
    severity="warning",
    reason="the CPU pads it to 4x4 for the KPU and back",
    fix="put it in front of the pool, if there is one: the mean of its results is the same",
)
def head_on_a_pixel(op: Op) -> str | None:
    return kpu.head_on_a_pixel(op)


@op_rule(
    "max_pool2d",
    name="cpu-pool",
    severity="warning",
    reason="the KPU has 2x2 and 4x4; the CPU does it, with maps copied to it and back",
    fix="use 2x2 with stride 2 or 4x4 with stride 4",
)
def cpu_pool(op: Op) -> str | None:
    side = format_shape(op.kernel)
    return f"max_pool2d of {side}" if kpu.pool_place(op) == "CPU" else None


RULES: tuple[Rule, ...] = (
    *_KPU_LIMITS,
    *(kpu_memory, pool, mean, gelu, normalization_inside, two_tensors, concat, upsample_factor),
    *(softmax, linear_of_a_map),
    *(_missing_rule(*row) for row in _MISSING),
    *(unknown, camera, _find_weights(MAIN_BYTES), _find_weights(MAIXPY_BYTES)),
    *(pool_of_a_skip, depthwise_stride, large_linear, head_on_a_pixel, cpu_pool),
)
