"""What MNN refuses or gets wrong: rules for ``edgeark check``.

Each was seen with MNN 3.6.1, and ``tests/export/lint/test_rule_examples.py`` sees it again.
"""

from __future__ import annotations

import torch
from torch import fx

from ...graph.network import Op
from ...lint import common, onnx_file, predicates
from ...lint.nearest import by_inverse, nearest_rounding
from ...lint.rule_set import RuleSet

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(onnx_file.rules)

_REFUSED = "MNN's converter refuses it"
_WRONG = "MNN gives other values, without a word"
_REFLECTION = 2  # the number of grid_sample's mode


@rules.op(
    *("atan2", "col2im", "isnan", "mish", "nan_to_num", "xlogy"),
    name="unknown-operator",
    reason=_REFUSED,
    fix="build it of others (Mish: x * softplus(x).tanh()), or compute it on the host",
)
def unknown(op: Op) -> str | None:
    return op.kind


@rules.op(
    *("fmod", "index_put"),
    name="wrong-operator",
    reason=_WRONG,
    fix="build it of others (torch.remainder, cat), or compute it on the host",
)
def wrong(op: Op) -> str | None:
    return op.kind


@rules.op(
    *("eq", "ne"),
    name="equal-floats",
    reason=_WRONG,
    fix="compare with < and >, or integers",
)
def equal_floats(op: Op) -> str | None:
    values = op.node.all_input_nodes[0].meta["val"]
    return f"{op.kind} of floats" if values.dtype == torch.float32 else None


@rules.op(
    "lt",
    name="less-than",
    reason="MNN compares the bits of floats as integers: two negative ones come out the wrong way",
    fix="turn it round: y > x for x < y, -x > 0.1 for x < -0.1; >, >= and <= are right",
)
def less_than(op: Op) -> str | None:
    if op.node.all_input_nodes[0].meta["val"].dtype != torch.float32:
        return None
    other = op.arguments["other"]
    is_positive = not isinstance(other, fx.Node) and bool(torch.as_tensor(other).min() >= 0)
    return None if is_positive else "less than"


@rules.op(
    *("linalg_vector_norm", "cosine_similarity", "logsumexp"),
    name="norm-over-all",
    reason="MNN takes it over every dimension: values and sizes are wrong",
    fix="write it out: (x * x).sum(1, True).sqrt()",
)
def norm_over_all(op: Op) -> str | None:
    """Where all of the tensor is asked for, and its axes are kept, that is right."""
    shape, axes = next(iter(op.input_shapes), ()), op.arguments.get("dim")
    is_kept = op.kind == "linalg_vector_norm" and op.arguments["keepdim"]
    if is_kept and isinstance(axes, (list, tuple)):
        rest = {axis for axis, size in enumerate(shape) if size > 1}
        if rest <= {axis % len(shape) for axis in axes}:
            return None
    return op.kind.replace("_", " ")


@rules.op(
    "upsample_bicubic2d",
    name="bicubic-enlarged",
    reason=_WRONG,
    fix="use bilinear resizing, or align_corners=True",
)
def bicubic_enlarged(op: Op) -> str | None:
    return "bicubic" if predicates.is_larger(op) and not op.arguments["align_corners"] else None


rules.add(
    common.antialias(
        *("_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"),
        reason="MNN drops the filter without a word: the values are wrong",
    )
)


rules.add(common.circular_padding(_REFUSED))


rules.add(common.dilated_pool("MNN leaves the dilation out: sizes and values are wrong"))


@rules.op(
    "avg_pool3d",
    name="padded-average-3d",
    reason=_WRONG,
    fix="pool without padding",
)
def padded_average_3d(op: Op) -> str | None:
    padding = op.arguments["padding"]
    return (
        f"a 3-D average pool with padding {padding}"
        if any(predicates.expand_to_ntuple(padding, 3))
        else None
    )


@rules.op(
    "conv3d",
    name="dilated-conv3d",
    reason=_WRONG,
    fix="use a larger kernel, or a stride",
)
def dilated_conv3d(op: Op) -> str | None:
    dilation = op.arguments["dilation"]
    return f"a 3-D convolution with dilation {dilation}" if predicates.is_dilated(op) else None


@rules.op(
    "conv_transpose3d",
    name="transposed-conv3d",
    reason=_WRONG,
    fix="enlarge by nearest and convolve: f.interpolate(x, scale_factor=2.0), then nn.Conv3d",
)
def transposed_conv3d(op: Op) -> str | None:
    return "a transposed 3-D convolution"


rules.add(common.negative_padding(_WRONG))


rules.add(common.negative_index(_WRONG))


@rules.op(
    "grid_sampler",
    name="grid-sample-mode",
    reason=_WRONG,
    fix="use bilinear, with zeros or border",
)
def grid_sample_mode(op: Op) -> str | None:
    is_reflected = op.arguments["padding_mode"] == _REFLECTION
    return predicates.bicubic_sample(op) or (
        "grid_sample with reflection" if is_reflected else None
    )


@rules.op(
    *("conv1d", "conv_transpose1d"),
    name="output-of-conv1d",
    reason="MNN's output has a fourth axis",
    fix="reshape it: view(1, C, L)",
)
def output_of_conv1d(op: Op) -> str | None:
    """With nothing behind it but what leaves the shape alone."""
    last = op
    while len(last.users) == 1 and last.users[0].kind in ("relu", "batch_norm"):
        (last,) = last.users
    return "a 1-D convolution as an output" if last.is_output else None


rules.add(nearest_rounding("MNN", by_inverse))


@rules.op(
    "upsample_trilinear3d",
    name="trilinear",
    reason="MNN writes beside its memory and dies as it runs it",
    fix="double by nearest, or resize height and width by bilinear",
)
def trilinear(op: Op) -> str | None:
    return "trilinear resizing"


@rules.op(
    "lstm",
    name="lstm",
    reason="MNN's converter dies of it",
    fix="use nn.GRU or nn.RNN, or write the cell with nn.Linear",
)
def lstm(op: Op) -> str | None:
    return "an LSTM"
