"""What OpenCV's ``dnn`` module refuses or gets wrong: rules for ``edgeark check``.

Each was seen with OpenCV 4.14, and ``tests/test_cpu_engine_rules.py`` sees it again.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import common, onnx_file, sights
from .network import Network, Op, by
from .rule import Rule, Sighting, op_rule

_REFUSED = "OpenCV refuses it"
_WRONG = "OpenCV gives other values, without a word"
_OF_MAPS = ("reflect", "replicate")


@op_rule(
    *("_upsample_bicubic2d_aa", "_upsample_nearest_exact2d", "upsample_bicubic2d"),
    *("upsample_linear1d", "upsample_nearest1d", "upsample_nearest3d", "upsample_trilinear3d"),
    *("conv_transpose1d", "conv_transpose3d", "max_pool2d_with_indices"),
    *("col2im", "diagonal", "flip", "grid_sampler", "index", "rot90", "tril"),
    *("__and__", "__or__", "__xor__", "atan2", "isnan", "lerp", "nan_to_num", "xlogy"),
    name="unknown-operator",
    reason=_REFUSED,
    fix="build it of others (nearest or bilinear resizing, index_select, slices and cat), or end "
    "the network before it and compute it on the host",
)
def unknown(op: Op) -> str | None:
    return op.kind


@op_rule(
    "gelu",
    name="gelu",
    reason="OpenCV dies with SIGSEGV as it reads the file",
    fix='say approximate="tanh", or use SiLU',
)
def gelu(op: Op) -> str | None:
    return "gelu" if op.arguments["approximate"] == "none" else None


fractional = op_rule(
    *("upsample_bilinear2d", "upsample_nearest2d"),
    name="fractional-size",
    reason="OpenCV goes by the ratio of the sizes, PyTorch by the factor: the values are wrong",
    fix="name the size (size=...), or a factor that gives whole sizes",
)(sights.fractional_size)


antialias = common.antialias(
    "_upsample_bilinear2d_aa", reason="OpenCV drops the filter without a word: the values are wrong"
)


circular_padding = common.circular_padding(_REFUSED)


negative_padding = common.negative_padding(_REFUSED)


@op_rule(
    "pad",
    name="padding-of-rows",
    reason="OpenCV reflects and replicates maps alone",
    fix="pad with a constant, or give it a map: x[:, :, None]",
)
def padding_of_rows(op: Op) -> str | None:
    mode = op.arguments["mode"]
    return f"padding mode {mode}" if len(op.shape) == 3 and mode in _OF_MAPS else None


@op_rule(
    "conv2d",
    name="padding-before-1x1",
    reason=f"uneven padding in front of it: {_WRONG}",
    fix="pad alike on all sides, or behind the convolution",
)
def padding_before_1x1(op: Op) -> str | None:
    before = op.inputs[0]
    if before is None or before.kind != "pad" or op.kernel != (1, 1):
        return None
    sides, is_zero = before.arguments["pad"], not before.arguments["value"]
    is_uneven = len(sides) == 4 and sides[::2] != sides[1::2]
    is_constant = before.arguments["mode"] == "constant"
    return "a 1x1 convolution" if is_constant and is_zero and is_uneven else None


dilated_pool = common.dilated_pool("OpenCV leaves the dilation out: sizes and values are wrong")


@op_rule(
    "conv_transpose2d",
    name="transposed-dilation",
    reason="OpenCV leaves the dilation out: sizes and values are wrong",
    fix="use a larger kernel",
)
def transposed_dilation(op: Op) -> str | None:
    dilation = op.pair("dilation")
    return f"a transposed convolution with dilation {dilation}" if dilation != (1, 1) else None


uncounted_padding = op_rule(
    "avg_pool2d",
    name="uncounted-padding",
    reason=f"OpenCV counts it all the same: {_WRONG}",
    fix="leave count_include_pad=True",
)(sights.uncounted_padding)


@op_rule(
    "adaptive_avg_pool2d",
    name="uneven-pool",
    reason=_REFUSED,
    fix="choose sizes that divide the map's, or a pool with a kernel",
)
def uneven_pool(op: Op) -> str | None:
    before, after = op.input_shapes[0][2:], op.shape[2:]
    is_even = all(n % m == 0 for n, m in zip(before, after, strict=True))
    return None if is_even else f"pooling {by(before)} to {by(after)}"


@op_rule(
    *("amax", "amin", "mean", "std", "sum", "var", "linalg_vector_norm"),
    name="reduction-of-all",
    reason=_WRONG,
    fix="reduce in two steps: x.mean((2, 3), True).mean(1, True)",
)
def reduction_of_all(op: Op) -> str | None:
    if [len(shape) for shape in op.input_shapes] != [4]:
        return None
    dims = op.arguments.get("dim") or ()
    is_all = sorted(dim % 4 for dim in dims) == [1, 2, 3]
    return f"{op.kind} over channels, height and width" if is_all else None


@op_rule(
    "unsqueeze",
    name="two-new-axes",
    reason=f"the exporter makes one operator of them, and {_REFUSED}",
    fix="keep the axes: mean((2, 3), keepdim=True), or say view(1, C, 1, 1)",
)
def two_new_axes(op: Op) -> str | None:
    before = op.inputs[0]
    is_second = before is not None and before.kind == "unsqueeze"
    return "unsqueeze behind unsqueeze" if is_second else None


def _of_one_dimension(network: Network) -> Iterator[Sighting]:
    for op in network.ops:
        if op.is_output and len(op.shape) == 1:
            yield Sighting(op, f"an output of {by(op.shape)}")


one_dimension = Rule(
    "output-of-one-dimension",
    "error",
    "OpenCV gives it a second axis",
    "keep the batch axis and another one: flatten(1), mean((1, 2, 3), keepdim=True)",
    _of_one_dimension,
)

RULES: tuple[Rule, ...] = (
    *(unknown, gelu, fractional, antialias, circular_padding, negative_padding, padding_of_rows),
    *(padding_before_1x1, dilated_pool, transposed_dilation, uncounted_padding, uneven_pool),
    *(reduction_of_all, two_new_axes, one_dimension),
    *onnx_file.RULES,
)
