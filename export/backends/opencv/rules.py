"""What OpenCV's ``dnn`` module refuses or gets wrong, 4.x: rules for ``edgeark check``.

Each was seen with OpenCV 4.14, and ``tests/export/lint/test_rule_examples.py`` sees it again.
``rules5.py`` takes from here what 5.x has kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ....core.messages import format_shape
from ...graph.network import Network, Op
from ...lint import common, onnx_file
from ...lint.nearest import by_double_ratio, nearest_rounding
from ...lint.rule import Match, Rule, op_rule
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

REFUSED = "OpenCV refuses it"
WRONG = "OpenCV gives other values, without a word"
BY_RATIO = "OpenCV goes by the ratio of the sizes, PyTorch by the factor: the values are wrong"
NO_FILTER = "OpenCV drops the filter without a word: the values are wrong"
_OF_MAPS = ("reflect", "replicate")
_INTEGERS = (torch.int32, torch.int64)


def unknown_operator(*kinds: str) -> Rule:
    """Of operators that a version does not know at all."""
    fix = (
        "build it of others (nearest or bilinear resizing, index_select, slices and cat), or end "
        "the network before it and compute it on the host"
    )
    rule = op_rule(*kinds, name="unknown-operator", reason=REFUSED, fix=fix)
    return rule(lambda op: op.kind)


rules.add(
    unknown_operator(
        *("_upsample_bicubic2d_aa", "upsample_bicubic2d", "_upsample_nearest_exact1d"),
        *("_upsample_nearest_exact2d", "_upsample_nearest_exact3d"),
        *("upsample_linear1d", "upsample_nearest1d", "upsample_nearest3d", "upsample_trilinear3d"),
        *("conv_transpose1d", "conv_transpose3d", "max_pool2d_with_indices"),
        *("col2im", "diagonal", "flip", "grid_sampler", "index", "rot90", "tril", "triu"),
        *("__and__", "__lshift__", "__or__", "__rshift__", "__xor__", "bitwise_not", "logical_xor"),
        *("atan2", "isfinite", "isinf", "isnan", "lerp", "nan_to_num", "xlogy"),
    )
)


@rules.op(
    "gelu",
    name="gelu",
    reason="OpenCV dies with SIGSEGV as it reads the file",
    fix='say approximate="tanh", or use SiLU',
)
def gelu(op: Op) -> str | None:
    return "gelu" if op.arguments["approximate"] == "none" else None


rules.add(common.fractional_size("upsample_bilinear2d", reason=BY_RATIO))


rules.add(nearest_rounding("OpenCV", by_double_ratio))


rules.add(common.antialias("_upsample_bilinear2d_aa", reason=NO_FILTER))


rules.add(common.circular_padding(REFUSED))


rules.add(common.negative_padding(REFUSED))


@rules.op(
    "pad",
    name="padding-of-rows",
    reason="OpenCV reflects and replicates maps alone",
    fix="pad with a constant, or give it a map: x[:, :, None]",
)
def padding_of_rows(op: Op) -> str | None:
    mode = op.arguments["mode"]
    return f"padding mode {mode}" if len(op.shape) == 3 and mode in _OF_MAPS else None


@rules.op(
    "conv2d",
    name="padding-before-1x1",
    reason=f"uneven padding in front of it: {WRONG}",
    fix="pad alike on all sides, or behind the convolution",
)
def padding_before_1x1(op: Op) -> str | None:
    before = op.before
    if before is None or before.kind != "pad" or op.kernel != (1, 1):
        return None
    sides, is_zero = before.arguments["pad"], not before.arguments["value"]
    is_uneven = len(sides) == 4 and sides[::2] != sides[1::2]
    is_constant = before.arguments["mode"] == "constant"
    return "a 1x1 convolution" if is_constant and is_zero and is_uneven else None


rules.add(common.dilated_pool("OpenCV leaves the dilation out: sizes and values are wrong"))


@rules.op(
    "conv_transpose2d",
    name="transposed-dilation",
    reason="OpenCV leaves the dilation out: sizes and values are wrong",
    fix="use a larger kernel",
)
def transposed_dilation(op: Op) -> str | None:
    dilation = op.pair("dilation")
    return f"a transposed convolution with dilation {dilation}" if dilation != (1, 1) else None


@rules.op(
    "unsqueeze",
    name="two-new-axes",
    reason=f"the exporter makes one operator of them, and {REFUSED}",
    fix="keep the axes: mean((2, 3), keepdim=True), or say view(1, C, 1, 1)",
)
def two_new_axes(op: Op) -> str | None:
    before = op.before
    is_second = before is not None and before.kind == "unsqueeze"
    return "unsqueeze behind unsqueeze" if is_second else None


@rules.op(
    *("log", "log2", "logaddexp"),
    name="log-of-exponentials",
    reason="OpenCV takes log(exp(x) + y) for softplus(x), whatever y is: the values are wrong",
    fix="use logsumexp: torch.stack((a, b)).logsumexp(0)",
)
def log_of_exponentials(op: Op) -> str | None:
    if op.kind == "logaddexp":
        return "logaddexp"
    before = op.before
    if before is None or before.kind != "add":
        return None
    other = before.arguments["other"]
    if isinstance(other, (int, float)) and other == 1:  # that is softplus
        return None
    is_of_exp = any(term is not None and term.kind == "exp" for term in before.inputs)
    return "the logarithm of a sum with an exponential" if is_of_exp else None


@rules.op(
    "mul",
    name="hardsigmoid-gate",
    reason="OpenCV takes x * hardsigmoid(y) for hardswish(y): sizes or values are wrong",
    fix="write the gate as F.relu6(y + 3) / 6",
)
def hardsigmoid_gate(op: Op) -> str | None:
    """Squeeze-and-excitation of MobileNet v3, for one; hardswish itself is right."""
    for gate in op.inputs:
        if gate is not None and gate.kind == "hardsigmoid":
            gated = [node for node in op.node.all_input_nodes if node is not gate.node]
            if gated != gate.node.all_input_nodes:
                return "a product with a hardsigmoid"
    return None


@rules.op(
    *("expand", "expand_as", "repeat_interleave"),
    name="expanded-columns",
    reason=f"of a map one pixel wide {REFUSED}",
    fix="repeat it: x.repeat(1, n, 1, 1)",
)
def expanded_columns(op: Op) -> str | None:
    """An axis that grows in front of a last one of 1; where the last one grows all is well."""
    before = next(iter(op.input_shapes), ())
    is_last_one = bool(before) and before[-1] == 1 == op.shape[-1]
    return f"{op.kind} of {format_shape(before)}" if is_last_one and op.shape != before else None


@rules.op(
    "floor_divide",
    name="integer-division",
    reason=REFUSED,
    fix='say torch.div(x, n, rounding_mode="floor")',
)
def integer_division(op: Op) -> str | None:
    is_integer = op.node.meta["val"].dtype in _INTEGERS
    return "a floor division of integers" if is_integer else None


def matrix_by_vector(reason: str) -> Rule:
    """Of a product with one dimension on either side."""

    def predicate(op: Op) -> str | None:
        least = min(node.meta["val"].ndim for node in op.node.all_input_nodes)
        return "a product with a vector" if least == 1 else None

    fix = "multiply by a matrix: (x @ v[:, None])[..., 0]"
    return op_rule("dot", "matmul", "mv", name="matrix-by-vector", reason=reason, fix=fix)(
        predicate
    )


rules.add(matrix_by_vector("OpenCV refuses it, or gives another axis"))


@rules.network(
    name="output-of-one-dimension",
    reason="OpenCV gives it a second axis",
    fix="keep the batch axis and another one: flatten(1), mean((1, 2, 3), keepdim=True)",
)
def one_dimension(network: Network) -> Iterator[Match]:
    for op in network.ops:
        if op.is_output and len(op.shape) == 1:
            yield Match(op, f"an output of {format_shape(op.shape)}")
