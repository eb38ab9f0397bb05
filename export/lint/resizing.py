"""What several targets' rules ask of a resizing."""

from __future__ import annotations

from .network import Op


def fractional_size(op: Op) -> str | None:
    """Resizing by a factor that gives no whole size: PyTorch goes by the factor all the same.

    Most runtimes are told the sizes alone and go by their ratio, which is another factor.
    """
    if op.arguments.get("align_corners"):
        return None
    factors = op.arguments["scale_factors"] or ()
    sizes = [side * factor for side, factor in zip(op.input_shapes[0][2:], factors, strict=False)]
    shown = "x".join(f"{size:g}" for size in sizes)
    return f"resizing to {shown}" if any(size % 1 for size in sizes) else None
