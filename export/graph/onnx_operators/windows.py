"""Where the windows of a convolution or a pool lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .registry import OnnxNode


@dataclass(frozen=True)
class Windows:
    """By spatial axis; ``before`` and ``after`` are the padding."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def spans(self) -> tuple[int, ...]:
        """From the first element of a window to the last."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def is_symmetric(self) -> bool:
        return self.before == self.after


def read_windows(node: OnnxNode, kernel: Sequence[int] | None = None) -> Windows:
    """Of a Conv or a pool, ``auto_pad`` worked out; ``kernel``: of a weight."""
    size = node.shape(0)[2:]
    kernel = tuple(kernel or node.attribute("kernel_shape") or ())
    if len(kernel) != len(size):
        node.fail(f"a kernel of {len(kernel)} dimensions on an input of {len(size) + 2}")
    ones = [1] * len(size)
    stride = tuple(node.attribute("strides") or ones)
    dilation = tuple(node.attribute("dilations") or ones)
    pads = node.attribute("pads") or [0] * (2 * len(size))
    plain = Windows(kernel, stride, dilation, tuple(pads[: len(size)]), tuple(pads[len(size) :]))
    mode = node.attribute("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        return plain
    totals = [0] * len(size)
    if mode != "VALID":
        counts = [-(-n // s) for n, s in zip(size, stride, strict=True)]
        totals = [
            max((count - 1) * s + span - n, 0)
            for count, s, span, n in zip(counts, stride, plain.spans, size, strict=True)
        ]
    less, more = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    before, after = (more, less) if mode == "SAME_LOWER" else (less, more)
    return Windows(kernel, stride, dilation, before, after)


def pad_list(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """In the order of ``F.pad``: the last axis first; leading axes without padding are left out."""
    pairs = list(zip(before, after, strict=True))
    while len(pairs) > 1 and pairs[0] == (0, 0):
        pairs.pop(0)
    return [n for pair in reversed(pairs) for n in pair]
