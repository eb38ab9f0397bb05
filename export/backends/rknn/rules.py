"""What of a network a Rockchip NPU cannot do: rules for ``edgeark check`` and before an export.

Each was seen on rknn-toolkit2 2.5.0, and ``tests/test_rknn_rules.py`` sees it again: a rule that
outlives its reason fails there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ....words import format_shape
from ...graph.network import Network, Op
from ...lint import onnx_file
from ...lint.rule import Match, Rule, op_rule
from .fixes import OVERFLOW_MEND
from .pools import is_misread, is_splittable

MINI_CHIPS = ("rv1103", "rv1106", "rv1103b", "rv1106b")  # int8 alone, and few CPU operators
_CPU = "it runs on the CPU"
_MOST_TRANSPOSED = 8192  # pixels of a map
_SMALL_TRANSPOSES = ("rk3566", "rk3568", "rv1103", "rv1106")
_FLAT_ON_CPU = ("rk3588", "rk3566", "rk3568")
_SCORES = {"hardsigmoid", "sigmoid", "softmax"}  # all of these are in 0..1
_MOVES = {"cat", "flatten", "permute", "reshape", "slice", "transpose", "unsqueeze", "view"}


@op_rule(
    "upsample_bicubic2d",
    name="bicubic",
    reason="the compiler dies with SIGSEGV",
    fix="use nearest, or bilinear with align_corners=False",
)
def bicubic(op: Op) -> str | None:
    return "bicubic resizing"


@op_rule(
    "upsample_bilinear2d",
    name="align-corners",
    reason=_CPU,
    fix="use align_corners=False, or nearest",
)
def align_corners(op: Op) -> str | None:
    return "align_corners=True" if op.arguments["align_corners"] else None


@op_rule(
    "upsample_bilinear2d",
    name="broken-resize",
    reason=_CPU,
    fix="resize by a whole factor, or to nearest",
)
def broken_resize(op: Op) -> str | None:
    before, after = op.input_shapes[0][2:], op.shape[2:]
    if all(max(n, m) % min(n, m) == 0 for n, m in zip(before, after, strict=True)):
        return None
    return f"bilinear resizing of {format_shape(before)} to {format_shape(after)}"


@op_rule(
    "group_norm",
    "instance_norm",
    "layer_norm",
    name="norm",
    reason=_CPU,
    fix="use BatchNorm2d",
)
def norm(op: Op) -> str | None:
    return op.kind


@op_rule(
    "slice",
    name="strided-slice",
    reason=f"behind a layer {_CPU}",
    fix="use a strided convolution; of the image itself such slices are free",
)
def strided_slice(op: Op) -> str | None:
    root = op
    while root.kind == "slice" and root.before is not None:
        root = root.before
    of_image = root.kind == "slice"
    step = op.arguments["step"]
    return None if step == 1 or of_image else f"a slice of step {step}"


@op_rule(
    "argmax",
    "exp",
    "grid_sampler",
    "topk",
    name="host-operator",
    reason=_CPU,
    fix="end the network before it and compute it on the host",
)
def host_operator(op: Op) -> str | None:
    return op.kind


@op_rule(
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


@op_rule(
    "permute",
    "transpose",
    name="large-transpose",
    reason=_CPU,
    fix="end in [N, C, H, W] and transpose on the host, or transpose a smaller map",
)
def large_transpose(op: Op) -> str | None:
    shape = op.input_shapes[0]
    is_large = len(shape) == 4 and shape[2] * shape[3] > _MOST_TRANSPOSED
    return f"a {op.kind} of {format_shape(shape)}" if is_large else None


@op_rule(
    "flatten",
    "reshape",
    "view",
    name="flat-output",
    severity="warning",
    reason="a Reshape on the CPU",
    fix="end in [N, C, 1, 1] and flatten on the host",
)
def flat_output(op: Op) -> str | None:
    return "a flat output" if op.is_output and len(op.shape) == 2 else None


def _global_max_pool(is_split: bool) -> Rule:
    """``is_split``: what can be written as 3x3 pools is."""

    @op_rule(
        "max_pool2d",
        name="global-max-pool",
        reason="the toolkit silently takes the maximum of the whole map",
        fix="use an odd kernel padded by half of it, which the ONNX route writes as 3x3 pools, "
        "or a larger input",
    )
    def look(op: Op) -> str | None:
        size, pads = op.input_shapes[0][2:], op.pair("padding", 0)
        if op.stride != (1, 1) or not is_misread(op.kernel, size):
            return None
        if is_split and is_splittable(op.kernel, pads * 2) and op.pair("dilation") == (1, 1):
            return None
        return f"a {format_shape(op.kernel)} max pool over {format_shape(size)}"

    return look


def _joined_outputs(network: Network) -> Iterator[Match]:
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


joined_outputs = Rule(
    "joined-outputs",
    "warning",
    "one int8 range for all of it leaves scores a few steps",
    "end in the raw map of each scale, and decode on the host",
    _joined_outputs,
)

_ON_CPU = (align_corners, broken_resize, strided_slice, host_operator)


def rules_of(chip: str, splits_pools: bool = True) -> tuple[Rule, ...]:
    """The rules of a chip.

    What runs on the CPU costs time; the mini chips' runtime has no kernels for it, and they have
    no normalisation layers either.

    Args:
        chip: as in ``rknn:<chip>``.
        splits_pools: the exporter writes max pools as :func:`split_misread_pools` does.
    """
    is_mini = chip in MINI_CHIPS
    on_cpu = [*_ON_CPU]
    if is_mini:
        on_cpu.append(norm)
    if chip in _SMALL_TRANSPOSES:
        on_cpu.append(large_transpose)
    severity = "error" if is_mini else "warning"
    return (
        bicubic,
        _global_max_pool(splits_pools),
        pool_stride,
        joined_outputs,
        *((flat_output,) if chip in _FLAT_ON_CPU else ()),
        *(replace(rule, severity=severity) for rule in on_cpu),
        *onnx_file.RULES,
    )


def _odd_part(number: int) -> int:
    while number % 2 == 0:
        number //= 2
    return number
