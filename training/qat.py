"""Fine-tuning under a target's int8, so that its rounding afterwards costs little or nothing.

Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only
inference", 2018: the forward pass rounds weights and activations as the target will, and the
gradient goes through the rounding as though it were not there (Bengio et al. 2013).

What comes out is the ordinary network, with weights that lie on the target's grid already. No
rounding is exported: every target's own converter calibrates and quantises, as it does any weights,
and finds the same grid. Hence the choices:

- Ranges of activations are observed, as calibration will observe them. Learned ones (Esser et al.,
  "Learned step size quantization", 2020) would be lost: no converter could be told.
- Weights have a scale for each output channel, so batch normalisation need not be folded first: its
  factor multiplies a channel's weights and their scale alike.
- A convolution's input is rounded, not every output: there a target multiplies integers, and what
  lies between (pools, concatenations, doubled maps) keeps the grid or makes the one that is seen.

torchao's QAT works on a captured graph and ends in a quantised one for its own runtimes; weights
that go through vendors' converters have to come out of the module itself.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..zoo.spec import spec_of

SchemeName = Literal["int8", "k210"]
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_LEVELS = 255  # steps between the lowest and the highest activation
_FORGET = 0.01  # of a range, at each batch: what one outlier widened narrows again


@dataclass(frozen=True)
class Scheme:
    """How a target rounds: the lowest and highest weight, in steps of its channel's scale.

    Activations have one scale a tensor and 256 levels, of which one is exactly 0.
    """

    low: int
    high: int


SCHEMES: dict[SchemeName, Scheme] = {
    "int8": Scheme(-127, 127),  # ONNX Runtime, OpenVINO, MNN, RKNN
    "k210": Scheme(-128, 127),  # bytes with the zero point 128: export/kpu/compiler/quantize.py
}


def round_weights(weights: Tensor, scheme: Scheme, axis: int = 0) -> Tensor:
    """Weights on the finest grid that holds them, one for each index along ``axis``."""
    rest = [dim for dim in range(weights.ndim) if dim != axis]
    found = weights.detach()
    scales = torch.maximum(found.amax(rest) / scheme.high, found.amin(rest) / scheme.low)
    scales = scales.clamp(min=1e-12)
    zeros = torch.zeros_like(scales, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(
        weights, scales, zeros, axis, scheme.low, scheme.high
    )


class RoundedTensor(nn.Module):
    """Rounds a tensor to 256 levels over a range: a batch's own in training, then the one seen.

    Batches differ in their range, and so does calibration's; a network that had learned by one grid
    alone would rely on it (top-1 of 89 instead of 98 % in a case with coarse steps). The range that
    is kept widens at once and narrows slowly: least and greatest value of some hundred batches, as
    calibration by minimum and maximum finds them.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        low, high = self.low, self.high
        if self.training:
            low, high = x.detach().aminmax()
            low, high = low.clamp(max=0), high.clamp(min=0)
            self.low.lerp_(low, _FORGET).clamp_(max=low)
            self.high.lerp_(high, _FORGET).clamp_(min=high)
        scale = ((high - low) / _LEVELS).clamp(min=1e-9)
        zero = (-low / scale).round().to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, _LEVELS)


class RoundedLayer(nn.Module):
    """A layer that multiplies rounded inputs by rounded weights; its bias stays as it is."""

    def __init__(self, layer: nn.Module, scheme: Scheme) -> None:
        super().__init__()
        self.layer, self.scheme = layer, scheme
        self.input = RoundedTensor()
        self._axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0  # of the output channels

    def weight(self) -> Tensor:
        return round_weights(self.layer.get_parameter("weight"), self.scheme, self._axis)

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.layer, {"weight": self.weight()}, (self.input(x),))


class RoundedNetwork(nn.Module):
    """A network of the zoo as a target computes it, to be trained on.

    Args:
        network: a model of :func:`~edgeark.zoo.create_model`; its layers are taken over.
        scheme: the target's.
    """

    def __init__(self, network: nn.Module, scheme: Scheme) -> None:
        super().__init__()
        with torch.no_grad():
            answer = network.eval()(torch.zeros(spec_of(network).input_shape))
        count = len(answer) if isinstance(answer, (tuple, list)) else 1
        self.outputs = nn.ModuleList(RoundedTensor() for _ in range(count))
        _replace(network, lambda m: RoundedLayer(m, scheme) if isinstance(m, _LAYERS) else None)
        self.network = network

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.network(x)
        if not isinstance(answer, (tuple, list)):
            return self.outputs[0](answer)
        return tuple(round_(value) for round_, value in zip(self.outputs, answer, strict=True))

    @torch.no_grad()
    def plain(self) -> nn.Module:
        """A copy of the network as it was built, with rounded weights."""
        network = deepcopy(self.network)
        _replace(network, lambda m: _unwrapped(m) if isinstance(m, RoundedLayer) else None)
        return network


def plain_network(model: nn.Module) -> nn.Module:
    """What of a model in training is kept: the network without rounding, or the model itself."""
    return model.plain() if isinstance(model, RoundedNetwork) else model


def _replace(module: nn.Module, change: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put ``change(child)`` in the place of every child, at any depth, for which it is not None."""
    for name, child in module.named_children():
        if (changed := change(child)) is not None:
            setattr(module, name, changed)
        else:
            _replace(child, change)


def _unwrapped(rounded: RoundedLayer) -> nn.Module:
    rounded.layer.get_parameter("weight").copy_(rounded.weight())
    return rounded.layer
