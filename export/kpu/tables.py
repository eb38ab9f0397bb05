"""The KPU's integer tables: batch normalisation by channel, and the activation in 16 segments.

A convolution's sum ``a`` becomes a byte in two steps, all integers, ``>>`` rounding down::

    v = (a * mul[c] >> shift[c]) + add[c]                            # BatchNorm, 36 bits
    y = clip(round((v - x_start[i]) * mul[i] / 2**shift[i]) + bias[i], 0, 255)    # Activation

where i is the last segment with ``v > x_start[i]``. ``round`` is half-to-even for a product of zero
or more. For a negative one nncase's simulator adds the sign after rounding *down*: it gives
``r - 1`` where half-to-even gives ``r + 1``, with r the floor. The firmware's own routine rounds
otherwise; which of them the silicon follows is not known, so a compiler should keep slopes positive
where it can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .layer import KmodelError

SEGMENTS = 16
ACTIVATION_BYTES = SEGMENTS * 9
LOWEST, HIGHEST = -(1 << 35), (1 << 35) - 1  # a signed number of 36 bits


def fits(name: str, values: np.ndarray | int, bits: int, signed: bool) -> None:
    """Raise KmodelError unless every value can be stored in so many bits."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    array = np.asarray(values)
    if array.size and not (low <= int(array.min()) and int(array.max()) <= high):
        raise KmodelError(
            f"{name} is {int(array.min())}..{int(array.max())}: {bits} bits hold {low}..{high}"
        )


def signed(values: np.ndarray, bits: int) -> np.ndarray:
    """The low ``bits`` of uint64 values as int64 in two's complement."""
    top = 64 - bits
    return (values << np.uint64(top)).view(np.int64) >> np.int64(top)


def unsigned(values: np.ndarray, bits: int) -> np.ndarray:
    """The low ``bits`` as uint64; the reverse of :func:`signed`."""
    return values.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)


def _integers(name: str, values: Sequence[int] | np.ndarray, count: int | None) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "iu" or count not in (None, len(array)):
        raise KmodelError(
            f"{name} must be {count or 'n'} integers, got {array.dtype} {array.shape}"
        )
    return array.astype(np.int64)


@dataclass(frozen=True, eq=False)
class BatchNorm:
    """``v = (a * mul >> shift) + add`` for each output channel; int64 arrays ``[channels]``.

    ``mul`` has 24 bits and a sign, ``shift`` is 0..15, ``add`` has 32 bits and a sign.
    """

    mul: np.ndarray
    shift: np.ndarray
    add: np.ndarray

    def __post_init__(self) -> None:
        for name, bits, sign in (("mul", 24, True), ("shift", 4, False), ("add", 32, True)):
            array = _integers(f"bn.{name}", getattr(self, name), len(self.mul))
            fits(f"bn.{name}", array, bits, sign)
            object.__setattr__(self, name, array)

    def pack(self) -> bytes:
        """One 64-bit word a channel: mul, add, shift from the low end up."""
        words = unsigned(self.mul, 24) | unsigned(self.add, 32) << np.uint64(24)
        return (words | unsigned(self.shift, 4) << np.uint64(56)).astype("<u8").tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> BatchNorm:
        """The reverse of :meth:`pack`; the top four bits of a word are undefined and ignored."""
        words = np.frombuffer(data, "<u8")
        shift = (words >> np.uint64(56) & np.uint64(15)).astype(np.int64)
        return cls(signed(words, 24), shift, signed(words >> np.uint64(24), 32))


@dataclass(frozen=True, eq=False)
class Activation:
    """The activation table: int64 arrays ``[16]``.

    ``x_start`` has 36 bits and a sign, ``mul`` 16 bits and a sign, ``shift`` is 0..255 and
    ``bias`` is 0..255.
    """

    x_start: np.ndarray
    mul: np.ndarray
    shift: np.ndarray
    bias: np.ndarray

    def __post_init__(self) -> None:
        fields = (("x_start", 36, True), ("mul", 16, True), ("shift", 8, False), ("bias", 8, False))
        for name, bits, sign in fields:
            array = _integers(f"activation.{name}", getattr(self, name), SEGMENTS)
            fits(f"activation.{name}", array, bits, sign)
            object.__setattr__(self, name, array)

    @classmethod
    def of(cls, segments: Sequence[tuple[int, int, int, int]]) -> Activation:
        """A table of at most 15 segments ``(x_start, mul, shift, bias)``, in rising order.

        Segment 0 is the constant 0 from the least number on, as in the vendor's files; what is left
        over lies at the upper end, where no sum comes.
        """
        left = SEGMENTS - 1 - len(segments)
        if left < 0:
            raise KmodelError(f"an activation has at most 15 segments, got {len(segments)}")
        unused = [(HIGHEST - left + 1 + i, 0, 0, 0) for i in range(left)]
        table = [(LOWEST, 0, 0, 0), *segments, *unused]
        starts = [start for start, *_ in table]
        if any(a >= b for a, b in pairwise(starts)):
            raise KmodelError(
                f"activation.x_start must rise from {LOWEST + 1} on, got {starts[1:]}"
            )
        return cls(*(np.array(column) for column in zip(*table, strict=True)))

    def pack(self) -> bytes:
        """16 words of 64 bits (shift, mul, x_start from the low end up), then 16 bytes of bias."""
        words = unsigned(self.shift, 8) | unsigned(self.mul, 16) << np.uint64(8)
        words = words | unsigned(self.x_start, 36) << np.uint64(24)
        return words.astype("<u8").tobytes() + self.bias.astype(np.uint8).tobytes()

    @classmethod
    def unpack(cls, data: bytes) -> Activation:
        """The reverse of :meth:`pack`."""
        words, bias = (
            np.frombuffer(data, "<u8", SEGMENTS),
            np.frombuffer(data[SEGMENTS * 8 :], "u1"),
        )
        shift = (words & np.uint64(255)).astype(np.int64)
        start, mul = signed(words >> np.uint64(24), 36), signed(words >> np.uint64(8), 16)
        return cls(start, mul, shift, bias.astype(np.int64))
