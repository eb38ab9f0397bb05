"""What the rules of several targets see: each says it in few words, or None where all is well.

What comes of it differs (refused, wrong, slow), so that each target names its own rule.
"""

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


def circular_padding(op: Op) -> str | None:
    return "circular padding" if op.arguments["mode"] == "circular" else None


def negative_padding(op: Op) -> str | None:
    sides = op.arguments["pad"]
    return f"a padding of {min(sides)}" if min(sides) < 0 else None


def antialias(op: Op) -> str | None:
    """Antialiased resizing to fewer pixels; bilinear to more is the same without it."""
    sides = zip(op.shape[2:], op.input_shapes[0][2:], strict=True)
    is_smaller = any(after < before for after, before in sides)
    return "antialias=True" if is_smaller or "bicubic" in op.kind else None


def strided_slice(op: Op) -> str | None:
    step = op.arguments["step"]
    return None if step == 1 else f"a slice of step {step}"


def dilated_pool(op: Op) -> str | None:
    dilation = op.pair("dilation")
    return f"a max pool with dilation {dilation}" if dilation != (1, 1) else None


def divisor_override(op: Op) -> str | None:
    divisor = op.arguments["divisor_override"]
    return None if divisor is None else f"an average pool that divides by {divisor}"


def uncounted_padding(op: Op) -> str | None:
    """PyTorch counts an average's padding, unless it is told otherwise."""
    is_counted = op.arguments["count_include_pad"] or op.pair("padding", 0) == (0, 0)
    return None if is_counted else "an average pool with count_include_pad=False"


def is_mean_of_map(op: Op) -> bool:
    """Over height and width, with or without ``keepdim``."""
    if [len(shape) for shape in op.input_shapes] != [4]:
        return False
    return sorted(dim % 4 for dim in op.arguments.get("dim") or ()) == [2, 3]


def is_depthwise(op: Op) -> bool:
    """A filter, or several, for each input channel."""
    groups = op.arguments["groups"]
    return groups > 1 and groups == op.input_shapes[0][1]
