"""Rules of the target ``k210``: what edgeark's compiler refuses, and what costs dearly.

An error is a refusal of the compiler's (``compiler/check.py``, ``lower.py``), said before it runs
and with the line of the user's code. Only the compiler knows when the maps of several branches fill
the KPU's memory together.
"""

from __future__ import annotations

from collections.abc import Iterator

from ....core.messages import format_shape
from ...graph.network import Network, Op
from ...kpu.compiler.advice import ADVICE
from ...kpu.compiler.check import MAX_CHANNELS, MAX_HEIGHT, MAX_WIDTH, SMALLEST_MAP
from ...kpu.layer import KPU_ROWS, MAIN_BYTES, MAIXPY_BYTES, ROW_BYTES
from ...lint.rule import Match, Severity
from ...lint.rule_set import RuleSet
from . import predicates as kpu
from .limits import kpu_limits

rules = RuleSet(examples=f"{__package__}.examples")

_CAMERA = (240, 320)

# Operators that neither the KPU nor the firmware has, by rule.
_MISSING: dict[str, tuple[str, ...]] = {
    "transposed-convolution": ("conv_transpose2d",),
    "prelu": ("prelu",),
    "normalization": ("instance_norm", "layer_norm", "group_norm"),
    "slice": ("slice", "select", "split", "split_with_sizes", "chunk"),
    "transpose": ("permute", "transpose", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle"),
    "resize": ("upsample_bilinear2d", "upsample_bicubic2d", "max_unpool2d"),
    "padding-layer": ("pad", "constant_pad_nd"),
    "product": ("matmul", "bmm", "scaled_dot_product_attention"),
    "max-of-maps": ("amax",),
    "log-softmax": ("log_softmax", "argmax"),
}
_KNOWN = frozenset(
    {
        *(kpu.FUNCTIONS | kpu.ARITHMETIC | kpu.NOTHING),
        *("conv2d", "batch_norm", "linear", "max_pool2d", "avg_pool2d", "max_pool2d_with_indices"),
        *("adaptive_avg_pool2d", "adaptive_max_pool2d", "mean", "softmax", "cat"),
        "upsample_nearest2d",
        *(kind for kinds in _MISSING.values() for kind in kinds),
    }
)
rules.include(
    kpu_limits(
        {
            "kernel": "the KPU has 1x1 and 3x3",
            "groups": "the KPU has dense and depthwise convolutions",
            "dilation": "the KPU's kernels have no holes",
            "stride": "the KPU has 1 and 2, the same both ways",
            "odd-map": "the KPU keeps one pixel of each 2x2, and drops the last line",
            "padding": "the KPU pads a 3x3 kernel by one pixel on all sides, and a 1x1 by none",
            "channels": f"the KPU ends at {MAX_CHANNELS}",
            "small-map": f"the KPU's smallest is {SMALLEST_MAP}x{SMALLEST_MAP}",
            "large-map": f"the KPU's largest is {MAX_HEIGHT}x{MAX_WIDTH} (height x width)",
            "normalization-inside": "a convolution's table has one function for all channels",
        }
    )
)


@rules.op(
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


@rules.op(
    *("max_pool2d", "max_pool2d_with_indices", "avg_pool2d"),
    name="pool",
    reason="the KPU has 2x2 and 4x4 pools, the CPU max pools without ceil_mode and dilation",
    fix=ADVICE["pool"],
)
def pool(op: Op) -> str | None:
    side = format_shape(op.kernel)
    return None if kpu.pool_place(op) else f"{op.kind} of {side}"


@rules.op(
    *("adaptive_avg_pool2d", "mean"),
    name="mean",
    reason="there are means of whole maps, of 2x2 and of 4x4 pixels",
    fix=ADVICE["mean"],
)
def mean(op: Op) -> str | None:
    if op.kind == "mean":
        rank = len(op.input_shapes[0])
        dims = sorted(dim % rank for dim in op.arguments.get("dim") or range(rank))
        return None if rank == 4 and dims == [2, 3] else f"a mean over dimensions {dims}"
    size = op.shape[-2:]
    kernel = {a / b for a, b in zip(op.input_shapes[0][-2:], size, strict=True)}
    if size == (1, 1) or ((kernel <= {2} or kernel <= {4}) and min(size) >= 4):
        return None
    return f"an adaptive pool to {format_shape(size)}"


@rules.op(
    *kpu.ARITHMETIC,
    name="two-tensors",
    reason="the firmware adds two tensors of one shape, and does no other arithmetic with two",
    fix=ADVICE["two-tensors"],
)
def two_tensors(op: Op) -> str | None:
    if not kpu.different_tensors(op):
        return None
    if op.kind == "add" and len(set(op.input_shapes)) == 1:
        return None
    return f"{op.kind} of {' and '.join(str(list(s)) for s in op.input_shapes)}"


@rules.op(
    "cat",
    name="concat",
    reason="the firmware joins bytes end to end, which are channels",
    fix=ADVICE["concat"],
)
def concat(op: Op) -> str | None:
    dim = op.arguments["dim"]
    return None if dim % len(op.shape) == 1 else f"a concatenation along dimension {dim}"


@rules.op(
    "upsample_nearest2d",
    name="upsample-factor",
    reason="the firmware's resize is exact for whole factors alone",
    fix=ADVICE["upsample-factor"],
)
def upsample_factor(op: Op) -> str | None:
    old, new = shape_pair = (op.input_shapes[0][2:], op.shape[2:])
    whole = all(b % a == 0 for a, b in zip(old, new, strict=True))
    return None if whole else " to ".join(format_shape(s) for s in shape_pair)


@rules.op(
    "softmax",
    name="softmax",
    reason="the firmware's is over one vector",
    fix=ADVICE["softmax"],
)
def softmax(op: Op) -> str | None:
    long = sum(side > 1 for side in op.shape[1:])
    return f"a softmax of {list(op.shape)}" if long > 1 else None


@rules.op(
    "linear",
    name="linear-of-a-map",
    reason="a fully connected layer takes one vector",
    fix=ADVICE["linear-of-a-map"],
)
def linear_of_a_map(op: Op) -> str | None:
    shape = op.input_shapes[0]
    return None if len(shape) == 2 else f"a linear layer of {list(shape)}"


for _name, _kinds in _MISSING.items():
    rules.op(
        *_kinds,
        name=_name,
        reason="neither the KPU nor the firmware's interpreter has it",
        fix=ADVICE[_name],
    )(lambda op: None if kpu.moves_nothing(op) else op.kind)


@rules.op(
    name="unknown-operator",
    reason="neither the KPU nor the firmware's interpreter has it",
    fix="use 1x1 and 3x3 convolutions, activations and pools, or compute it on the host",
)
def unknown(op: Op) -> str | None:
    told = op.kind in _KNOWN or op.kind.startswith(("_assert", "<"))
    return None if told or kpu.moves_nothing(op) else op.kind


@rules.network(
    name="camera",
    severity="warning",
    reason="MaixPy's camera gives 240x320 (height x width)",
    fix="use an input that the camera can give",
)
def camera(network: Network) -> Iterator[Match]:
    for shape in network.input_shapes:
        height, width = shape[2:] if len(shape) == 4 else (0, 0)
        if height > _CAMERA[0] or width > _CAMERA[1]:
            yield Match(None, f"an input of {height}x{width}")


def _limit_weights(name: str, limit: int, severity: Severity, whose: str) -> None:
    @rules.network(
        name=name,
        severity=severity,
        reason=f"they have to fit {whose}, with all else",
        fix="make it narrower, or shallower",
    )
    def main_memory(network: Network) -> Iterator[Match]:
        size = kpu.weight_bytes(network)
        if size > limit:
            yield Match(None, f"{size / 1e6:.1f} MB of weights")


_limit_weights("main-memory", MAIN_BYTES, "error", "the chip's 6 MiB")
_limit_weights("maixpy-memory", MAIXPY_BYTES, "warning", "3.5 MB that MaixPy leaves")


@rules.op(
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


rules.include(
    kpu_limits(
        {
            "depthwise-stride": "the KPU cannot stride it; the compiler adds a 1x1 layer that does",
            "large-linear": f"above {MAX_CHANNELS} it is the CPU's, in float32 with four bytes a "
            "weight",
        },
        "warning",
    )
)


@rules.op(
    "conv2d",
    name="head-on-a-pixel",
    severity="warning",
    reason="the CPU pads it to 4x4 for the KPU and back",
    fix="put it in front of the pool, if there is one: the mean of its results is the same",
)
def head_on_a_pixel(op: Op) -> str | None:
    return kpu.head_on_a_pixel(op)


@rules.op(
    "max_pool2d",
    name="cpu-pool",
    severity="warning",
    reason="the KPU has 2x2 and 4x4; the CPU does it, with maps copied to it and back",
    fix="use 2x2 with stride 2 or 4x4 with stride 4",
)
def cpu_pool(op: Op) -> str | None:
    side = format_shape(op.kernel)
    return f"max_pool2d of {side}" if kpu.pool_place(op) == "CPU" else None
