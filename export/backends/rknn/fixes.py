"""What to do about what rknn-toolkit2 says: a fix for each known error and CPU operator."""

from __future__ import annotations

from ...toolchains import Hint

OVERFLOW_MEND = "pool by a stride without an odd factor over 7, or in steps"

HINTS = (
    Hint(
        r"No module named 'pkg_resources'",
        "setuptools >= 81 is in the environment; remove the toolchain's folder",
    ),
    Hint(
        r"no attribute 'mapping'|onnx\.mapping",
        "the environment has onnx >= 1.19; remove the toolchain's folder",
    ),
    Hint(r"onnx opset \d+, need <= \d+", "export at an opset of at most 19"),
    Hint(
        r"Invalid RKNN model version",
        "the board's librknnrt is older than the toolkit: replace it by the toolkit's release",
    ),
    Hint(r"input shape .*not support", "the file has dynamic sizes: export it with fixed ones"),
    Hint(r"REGTASK: .* exceeds the limit", OVERFLOW_MEND),
    Hint(
        r"disable_rules=\['fuse_reshape_transpose'\]",
        "it fails at the transpose of a flattened map: end in [N, C, H, W], decode on the host",
    ),
    Hint(r"not support do_quantization = False", "this chip computes int8 alone: add --int8"),
    Hint(
        r"died with SIGSEGV",
        "known to crash it: bicubic resizing, a matmul of a tensor by itself, boxes decoded inside "
        "the network",
    ),
)

_CPU_FIXES = {
    "Resize": "resize to nearest, or bilinear with align_corners=False, by a whole factor",
    "Slice": "slice with step 1, or put a convolution with that stride in its place; slices of "
    "step 2 are free at the network's input alone",
    "Reshape": "end in [N, C, H, W] and reshape on the host",
    "Transpose": "end in [N, C, H, W] and transpose on the host, or shrink the map",
    "exNorm": "use BatchNorm2d",
    "AveragePool": OVERFLOW_MEND,
    "MaxPool": OVERFLOW_MEND,
    "Sqrt": "use float16, or compute it on the host",
}
_ELSEWHERE = "compute it on the host, behind the network"


def cpu_mend(op: str) -> str:
    """What to do about an operator that the compiler put on the CPU: one clause."""
    return _CPU_FIXES.get(op, _ELSEWHERE)
