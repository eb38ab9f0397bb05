"""What the rules of several targets see: each says it in few words, or None where all is well.

What comes of it differs (refused, wrong, slow), so that each target names its own rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, fx

from ...core.messages import format_shape
from ..graph.folding import is_fake
from ..graph.network import Op

_BICUBIC = 2  # the number of grid_sample's mode


def fractional_size(op: Op) -> str | None:
    """Resizing by a factor that gives no whole size: PyTorch goes by the factor all the same.

    Most runtimes are told the sizes alone and go by their ratio, which is another factor.
    """
    if op.arguments.get("align_corners"):
        return None
    sides = zip(op.input_shapes[0][2:], op.scale_factors, strict=False)
    sizes = [side * factor for side, factor in sides if factor is not None]
    shown = "x".join(f"{size:g}" for size in sizes)
    return f"resizing to {shown}" if any(size % 1 for size in sizes) else None


def circular_padding(op: Op) -> str | None:
    return "circular padding" if op.arguments["mode"] == "circular" else None


def negative_padding(op: Op) -> str | None:
    least = min(op.arguments["pad"])
    return f"a padding of {least}" if least < 0 else None


def is_smaller(op: Op) -> bool:
    """Whether a map has fewer rows or columns than before."""
    return any(after < before for after, before in _maps(op))


def is_larger(op: Op) -> bool:
    """Whether a map has more rows or columns than before."""
    return any(after > before for after, before in _maps(op))


def _maps(op: Op) -> Iterator[tuple[int, int]]:
    """Each side of the map, after and before."""
    return zip(op.shape[2:], op.input_shapes[0][2:], strict=True)


def antialias(op: Op) -> str | None:
    """Antialiased resizing to fewer pixels; bilinear to more is the same without it."""
    return "antialias=True" if is_smaller(op) or "bicubic" in op.kind else None


def bicubic_sample(op: Op) -> str | None:
    return "bicubic grid_sample" if op.arguments["interpolation_mode"] == _BICUBIC else None


def negative_index(op: Op) -> str | None:
    places = [_constant(op, node) for node in op.node.all_input_nodes[1:]]
    found = any(p is not None and p.numel() and int(p.min()) < 0 for p in places)
    return "a negative place in an index list" if found else None


def _constant(op: Op, node: fx.Node) -> Tensor | None:
    """What an index list holds; None where an image decides, or where no values are known."""
    value = op.network.constants.get(node)
    return value if isinstance(value, Tensor) and not is_fake(value) else None


def strided_slice(op: Op) -> str | None:
    step = op.arguments["step"]
    return None if step == 1 else f"a slice of step {step}"


def dilated_pool(op: Op) -> str | None:
    return f"a max pool with dilation {op.arguments['dilation']}" if is_dilated(op) else None


def is_dilated(op: Op) -> bool:
    dilation = op.arguments["dilation"]
    return any(side != 1 for side in (dilation if isinstance(dilation, list) else [dilation]))


def divisor_override(op: Op) -> str | None:
    divisor = op.arguments["divisor_override"]
    return None if divisor is None else f"an average pool that divides by {divisor}"


def uncounted_padding(op: Op) -> str | None:
    """PyTorch counts an average's padding, unless it is told otherwise."""
    is_counted = op.arguments["count_include_pad"] or op.pair("padding", 0) == (0, 0)
    return None if is_counted else "an average pool with count_include_pad=False"


def ceiled_average(op: Op) -> str | None:
    """An average that counts padding, where a window reaches past it: that is not to be counted."""
    counts = op.arguments["count_include_pad"]
    return "an average pool with ceil_mode" if counts and adds_windows(op) else None


def adds_windows(op: Op) -> bool:
    """Whether ``ceil_mode`` makes a pool's answer larger than it is without."""
    given, dims = op.arguments, next(int(n) for n in "123" if f"{n}d" in op.kind)
    size, after = op.shape_of("self")[-dims:], op.shape[-dims:]
    kernels, paddings, dilations = (
        expand_to_ntuple(given.get(name, 1), dims)
        for name in ("kernel_size", "padding", "dilation")
    )
    strides = expand_to_ntuple(given["stride"], dims) or kernels
    along = zip(size, kernels, strides, paddings, dilations, strict=True)
    floor = [(n + 2 * p - (k - 1) * d - 1) // step + 1 for n, k, step, p, d in along]
    return bool(given["ceil_mode"]) and [*after] != floor


def uneven_pool(op: Op) -> str | None:
    """An adaptive pool whose windows differ in size."""
    before, after = op.input_shapes[0][2:], op.shape[2:]
    if all(n % m == 0 for n, m in zip(before, after, strict=True)):
        return None
    return f"an adaptive pool of {format_shape(before)} to {format_shape(after)}"


def expand_to_ntuple(value: int | list[int], dims: int) -> list[int]:
    """Of what torch takes as one number or as several: one for each side of a map."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return [*values] * (dims // len(values)) if values else []


def pool_window(given: Sequence[Any], dims: int) -> tuple[list[int], list[int], list[int]]:
    """Kernel, stride and padding of a pool, of its arguments behind the map."""
    kernel = expand_to_ntuple(given[0], dims)
    return kernel, expand_to_ntuple(given[1], dims) or kernel, expand_to_ntuple(given[2], dims)


def axis_order(op: Op) -> tuple[int, ...]:
    """Which axis of a transposed tensor comes first, which second, and so on."""
    count = len(op.shape)
    if op.kind == "permute":
        return tuple(axis % count for axis in op.arguments["dims"])
    order = list(range(count))
    first, second = op.arguments["dim0"] % count, op.arguments["dim1"] % count
    order[first], order[second] = second, first
    return tuple(order)


def is_mean_of_map(op: Op) -> bool:
    """Over height and width, with or without ``keepdim``."""
    if [len(shape) for shape in op.input_shapes] != [4]:
        return False
    return sorted(dim % 4 for dim in op.arguments.get("dim") or ()) == [2, 3]


def depth_multiplier(op: Op) -> int:
    """How many filters a depthwise convolution has for each input channel; 0: it is not one."""
    groups, channels = op.arguments["groups"], op.input_shapes[0][1]
    return op.shape[1] // channels if groups == channels > 1 else 0


def is_depthwise(op: Op) -> bool:
    """A filter, or several, for each input channel."""
    return depth_multiplier(op) > 0
