"""What a network costs: parameters, multiply-accumulates, the largest activation, by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .modes import evaluating
from .spec import spec_of


@dataclass(frozen=True)
class Layer:
    """One leaf module that computes; ``shape`` is its output's, without the batch."""

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """Totals for one image. ``peak_values`` is the most numbers alive around one layer."""

    parameters: int
    macs: int
    peak_values: int
    layers: tuple[Layer, ...]


@torch.no_grad()
def summarize(model: nn.Module) -> Summary:
    """Run one black image through a model of :func:`create_model` and count."""
    layers: list[Layer] = []
    peak = 0

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal peak
            parameters = sum(p.numel() for p in module.parameters())
            shape = tuple(output.shape[1:])
            macs = _macs(module, output)
            layers.append(Layer(name, type(module).__name__, shape, parameters, macs))
            peak = max(peak, output.numel() + sum(x.numel() for x in inputs))

        return hook

    leaves = [(name, m) for name, m in model.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(record(name)) for name, module in leaves]
    try:
        with evaluating(model):
            model(torch.zeros(spec_of(model).input_shape))
    finally:
        for handle in handles:
            handle.remove()
    total = sum(p.numel() for p in model.parameters())
    return Summary(total, sum(layer.macs for layer in layers), peak, tuple(layers))


def _macs(module: nn.Module, output: Tensor) -> int:
    """Multiply-accumulates of one layer; normalisation folds away, activations do not count."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, nn.ConvTranspose2d):
        return output.numel() * module.weight[:, 0].numel() // (module.stride[0] * module.stride[1])
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 0
