"""Examples of rules: a small network on which a rule fires, and one on which it does not.

The tests convert and run both on the real engine. The docs show their source text.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Literal

import torch
from torch import Tensor, nn

Which = Literal["bad", "good"]
Layer = Callable[[Tensor], Tensor]
"""A function or module that reads one map ``[1, C, H, W]``."""


def _caller() -> tuple[str, int]:
    """File and line of the call of ``Example(...)``: two frames above, behind ``__init__``."""
    frame = sys._getframe(2)
    return frame.f_code.co_filename, frame.f_lineno


@dataclass(frozen=True)
class Example:
    """One pair of networks.

    Args:
        rule: its name.
        bad: a layer on which the rule fires, and which the engine gets wrong or refuses.
        good: a layer that says nearly the same, on which no rule fires and the engine is right.
        shape: of the map that both read: channels, height and width.
        good_shape: of the map that ``good`` reads, where that is another one.
        head: the kernel size of the convolution that reads a layer's result, where that is a map;
            0: the result is the network's output.
        precision: in which the engine fails.
        cpu_ops: the engine's names of what it leaves to the CPU of ``bad``.
        chips: on which the rule fires; none named: on all.
        place: file and line of the example's source text.
    """

    rule: str
    bad: Layer
    good: Layer
    shape: tuple[int, int, int] = (8, 24, 40)
    good_shape: tuple[int, int, int] | None = None
    head: int = 1
    precision: Literal["float32", "float16", "int8"] = "float32"
    cpu_ops: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    place: tuple[str, int] = field(default_factory=_caller)

    def map_shape(self, which: Which) -> tuple[int, int, int]:
        """Of the map that the layer reads: channels, height and width."""
        return (self.good_shape or self.shape) if which == "good" else self.shape

    def input_shape(self, which: Which) -> tuple[int, ...]:
        """Of the network: ``[1, 3, H, W]``."""
        return (1, 3, *self.map_shape(which)[1:])

    def network(self, which: Which) -> nn.Module:
        """The whole network, in evaluation mode; the same weights at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return ExampleNetwork(getattr(self, which), self.map_shape(which), self.head).eval()


class ExampleNetwork(nn.Module):
    """A convolution, the layer, and a convolution behind it where it gives a map."""

    def __init__(self, layer: Layer, shape: tuple[int, int, int], head: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, shape[0], 3, padding=1)
        self.layer = layer
        self.head = nn.Identity()
        if head:
            self.eval()
            with torch.no_grad():
                result = layer(torch.zeros(1, *shape))
            if isinstance(result, Tensor) and result.ndim == 4:
                self.head = nn.Conv2d(result.shape[1], 4, head, padding=head // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.stem(x)))


@functools.cache
def load_examples(module: str) -> tuple[Example, ...]:
    """``EXAMPLES`` of a module; layers with weights have the same ones in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tuple(import_module(module).EXAMPLES)
