"""Rules of the target ``k210-nncase-tflite``: those of nncase, but where its importer of TFLite, or
litert-torch in front of it, knows more or less. Each was seen in nncase's simulator.
"""

from __future__ import annotations

from ...graph.network import Op
from ...kpu.compiler.advice import ADVICE
from ...lint import onnx_file
from ...lint.rule_set import RuleSet
from ..litert import rules as litert
from . import rules as nncase

rules = RuleSet(examples=f"{__package__}.examples_tflite")

_NOT_READ = ("gelu", "elu", "mish", "softplus", "upsample_bicubic2d")
_OTHER_WAY = "k210-nncase, which goes by ONNX"


@rules.op(
    name="unread-operator",
    reason="nncase does not read what litert-torch makes of it (Unsupported tflite opcode)",
    fix=f"use SiLU, Hardswish or LeakyReLU; or export to {_OTHER_WAY}",
)
def unread(op: Op) -> str | None:
    return op.kind if op.kind in _NOT_READ else None


@rules.op(
    "conv_transpose2d",
    name="transposed-convolution",
    reason="litert-torch or nncase stops at it, but for a stride of 1",
    fix=ADVICE["transposed-convolution"],
)
def transposed(op: Op) -> str | None:
    return None if op.stride == (1, 1) else f"a transposed convolution of stride {op.stride[0]}"


@rules.op(
    "conv2d",
    name="groups",
    reason="nncase computes another network, or stops: 3 dB where k210-nncase has 38",
    fix=f"use groups=1, or as many as channels come and go; or export to {_OTHER_WAY}",
)
def groups(op: Op) -> str | None:
    count, before, after = op.arguments["groups"], op.input_shapes[0][1], op.shape[1]
    fits = count == 1 or count == before == after
    return None if fits else f"{count} groups, {before} to {after} channels"


rules.add(litert.fractional)

_ONNX_ALONE = (
    *("gelu", "half-pixel-bilinear", "padded-average", "padding-value", "pool-ceil-mode"),
    "uneven-pool",
    "depthwise-multiplier",  # one of its own ``groups``
)
_REPLACED = {*_ONNX_ALONE, *(rule.name for rule in (*rules, *onnx_file.rules))}
rules.include(rule for rule in nncase.rules if rule.name not in _REPLACED)
