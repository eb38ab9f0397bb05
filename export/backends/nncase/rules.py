"""Rules of the target ``k210-nncase``: what nncase 1.9 fails on, computes wrongly, or leaves to the
CPU in float, where it is slow. Each was seen in its own simulator (docs/export.md).

nncase takes more than edgeark's compiler, since its CPU runtime has most operators; so most limits
of the KPU are warnings here.
"""

from __future__ import annotations

from ....core.messages import format_shape
from ...graph.network import Op
from ...kpu.compiler.advice import ADVICE
from ...kpu.compiler.check import MAX_CHANNELS, MAX_HEIGHT, MAX_WIDTH, SMALLEST_MAP
from ...lint import common, onnx_file, predicates
from ...lint.rule_set import RuleSet
from ..k210 import predicates as kpu
from ..k210.limits import kpu_limits

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_NOT_WRITTEN = "PyTorch cannot write it at opset 11"
_RESIZES = (
    *("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"),
    "_upsample_nearest_exact2d",
)


@rules.op(
    name="gelu",
    reason="nncase stops at its Erf (Unsupported unary op for nnil)",
    fix="use SiLU or Hardswish",
)
def gelu(op: Op) -> str | None:
    exact = op.kind == "gelu" and op.arguments["approximate"] == "none"
    return "exact GELU" if exact else None


@rules.op(
    "conv_transpose2d",
    name="transposed-convolution",
    reason="nncase has no emitter for it but with a 3x3 kernel and stride 2",
    fix=ADVICE["transposed-convolution"],
)
def transposed(op: Op) -> str | None:
    if op.kernel == (3, 3) and op.stride == (2, 2):
        return None
    return f"a transposed convolution of {op.kernel[0]}x{op.kernel[1]}"


@rules.op(
    *("pad", "constant_pad_nd"),
    name="padding-layer",
    severity="warning",
    reason="the CPU pads, with maps copied to it and back",
    fix=ADVICE["padding-layer"],
)
def padding_layer(op: Op) -> str | None:
    return None if kpu.moves_nothing(op) else "a padding between layers"


@rules.op(
    *("pad", "constant_pad_nd"),
    name="padding-value",
    reason="nncase pads with another value, without a word",
    fix="pad with zeros, or reflect or replicate",
)
def padding_value(op: Op) -> str | None:
    value = op.arguments.get("value") or 0
    is_constant = op.arguments.get("mode", "constant") == "constant"
    return f"a padding of {value:g}" if is_constant and value else None


rules.op(
    "upsample_nearest2d",
    name="fractional-size",
    reason="nncase goes by the ratio of the sizes, PyTorch by the factor: the values are wrong",
    fix="choose a factor that gives whole sizes",
)(predicates.fractional_size)


@rules.op(
    "upsample_bilinear2d",
    name="half-pixel-bilinear",
    reason="nncase computes it as if corners were pixels: it runs, and the answer is wrong",
    fix="upsample by nearest, or with align_corners=True; or export to k210-nncase-tflite, where "
    "nncase computes it rightly",
)
def half_pixel_bilinear(op: Op) -> str | None:
    return None if op.arguments["align_corners"] else "bilinear with align_corners=False"


@rules.op(
    "conv2d",
    name="depthwise-multiplier",
    reason="nncase computes another network: -4 dB where the CPU's other groups have 32",
    fix="use groups=1, or as many outputs as inputs and a 1x1 convolution behind",
)
def depthwise_multiplier(op: Op) -> str | None:
    """Several filters for each input channel."""
    times = predicates.depth_multiplier(op)
    return f"a depthwise convolution to {times} times as many channels" if times > 1 else None


rules.add(common.dilated_pool("nncase stops (Shapes must be same)"))
rules.add(common.max_unpool(_NOT_WRITTEN))
rules.add(common.uneven_pool(_NOT_WRITTEN))


@rules.op(
    *("max_pool2d", "avg_pool2d"),
    name="pool-ceil-mode",
    reason="nncase expects another shape and stops (Shapes must be same)",
    fix="choose kernel, stride and padding that fit the map; or export to k210-nncase-tflite",
)
def pool_ceil_mode(op: Op) -> str | None:
    """Only where it adds a window."""
    return "a pool whose last window is cut" if predicates.adds_windows(op) else None


@rules.op(
    "instance_norm",
    name="instance-norm",
    severity="warning",
    reason="the CPU does it, and the answer may be off: 7 to 32 dB on the networks tried",
    fix="use batch normalisation right behind a convolution",
)
def instance_norm(op: Op) -> str | None:
    return "instance normalisation"


@rules.op(
    "avg_pool2d",
    name="padded-average",
    reason="nncase computes it wrongly: 6 dB where a pool without padding has 31",
    fix="pool without padding",
)
def padded_average(op: Op) -> str | None:
    return None if op.pair("padding", 0) == (0, 0) else "an average pool with padding"


@rules.op(
    *("max_pool2d", "avg_pool2d"),
    name="cpu-pool",
    severity="warning",
    reason="the KPU has 2x2 with stride 2 and 4x4 with stride 4",
    fix="use one of those right behind a dense convolution",
)
def cpu_pool(op: Op) -> str | None:
    side = format_shape(op.kernel)
    return None if kpu.pool_place(op) in ("KPU", "mean") else f"{op.kind} of {side}"


@rules.op(
    *("max_pool2d", "avg_pool2d"),
    name="pool-of-a-skip",
    severity="warning",
    reason="nncase pools it on the CPU, since the convolution in front has to stay whole",
    fix="put a dense 1x1 convolution that starts as the identity in front of the pool",
)
def pool_of_a_skip(op: Op) -> str | None:
    return kpu.pool_of_a_skip(op) if kpu.pool_place(op) == "KPU" else None


@rules.op(
    name="cpu-operator",
    severity="warning",
    reason="the CPU does it, with maps copied to it and back",
    fix="leave it out where the network can do without",
)
def cpu_operator(op: Op) -> str | None:
    kind = op.kind
    if kind in kpu.ARITHMETIC and kpu.different_tensors(op):
        return f"{kind} of two tensors"
    listed = ("prelu", "cat", "permute", "transpose", "pixel_shuffle", "slice", "chunk", "split")
    is_moved = kind in (*listed, *_RESIZES) and not kpu.moves_nothing(op)
    return kind if is_moved else None


rules.include(
    kpu_limits(
        {
            "depthwise-stride": "the KPU cannot stride it, and nncase drops the pixels on the CPU",
            "normalization-inside": "arithmetic with a number for each channel is the CPU's, in "
            "float",
            "kernel": "the KPU has 1x1 and 3x3, so the CPU convolves in float",
            "groups": "the KPU has dense and depthwise convolutions, so the CPU convolves in float",
            "dilation": "the CPU rearranges the map before and behind it",
            "stride": "the KPU computes every pixel, and the CPU drops most",
            "padding": "the KPU pads a 3x3 kernel by one pixel on all sides, so the map is cut or "
            "copied",
            "channels": f"the KPU ends at {MAX_CHANNELS}, so the CPU convolves in float",
            "large-linear": f"the KPU ends at {MAX_CHANNELS} features, so the CPU multiplies in "
            "float",
            "small-map": f"the KPU's smallest is {SMALLEST_MAP}x{SMALLEST_MAP}, so the CPU "
            "computes in float",
            "large-map": f"the KPU's largest is {MAX_HEIGHT}x{MAX_WIDTH} (height x width)",
        },
        "warning",
    )
)
