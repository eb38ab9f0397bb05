"""What of a network XNNPACK does not take in ExecuTorch; ``tests/test_executorch.py`` sees it."""

from __future__ import annotations

from .network import Op
from .rule import op_rule


@op_rule(
    "upsample_nearest2d",
    name="portable-resize",
    severity="warning",
    reason="XNNPACK does not take it, and ExecuTorch's own kernel is slow",
    fix="use bilinear resizing with align_corners=False, or a transposed convolution",
)
def portable_resize(op: Op) -> str | None:
    return "nearest resizing"


RULES = (portable_resize,)
