"""What a network is made of once it is cut for a K210: steps of the KPU and of the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ..arithmetic import Pool
from .scalar import Scalar, identity

Shape = tuple[int, ...]
Kind = Literal[
    "add", "concat", "linear", "max_pool", "mean", "resize", "reshape", "softmax", "table"
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Conv:
    """A convolution of stride 1 with padding that keeps the size, a function, a pool.

    Args:
        name: of the ONNX node, which carries the module's.
        input, output: values.
        weights: float64 ``[out, in, k, k]``, or ``[channels, 1, k, k]`` if ``depthwise``.
        bias: float64 ``[out]``.
        function: from a sum to what is stored.
        pool: of what is stored.
        sums: the ONNX tensor that has the sums.
        stored: the ONNX tensor whose range the stored bytes have to cover.
        copies: changes nothing but by its pool.
    """

    name: str
    input: str
    output: str
    weights: np.ndarray
    bias: np.ndarray
    depthwise: bool
    sums: str
    stored: str
    function: Scalar = identity
    pool: Pool = Pool.NONE
    copies: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False)
class Operator:
    """What the CPU does; ``function`` follows an ``add``, or is the ``table``.

    ``arrays`` are the ``weights`` and ``bias`` of ``linear``, ``numbers`` the
    ``kernel_height``, ``stride_width`` ... of ``max_pool``.
    """

    kind: Kind
    name: str
    inputs: tuple[str, ...]
    output: str
    function: Scalar = identity
    numbers: Mapping[str, int] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


Step = Conv | Operator


@dataclass(frozen=True, eq=False)
class Network:
    """Steps in an order in which they can run.

    Args:
        steps: see there.
        input: the image's value, raw pixels.
        outputs: values.
        shapes: of each value, without the batch.
        input_zero: the pixel value that padding of the image has to have.
    """

    steps: tuple[Step, ...]
    input: str
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]
    input_zero: int = 0

    def readers(self) -> Counter[str]:
        """How often each value is read; an output is read once more."""
        return Counter([*(name for step in self.steps for name in step.inputs), *self.outputs])
