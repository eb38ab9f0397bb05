"""What a network costs: parameters, multiply-accumulates, the largest activation, by layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

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
    """Run one black image, or zeros, through a network with a spec and count."""
    layers: list[Layer] = []
    peak = 0

    def record(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...], answer: Any) -> None:
            nonlocal peak
            output = _first_tensor(answer)
            if output is None:
                return
            parameters = sum(p.numel() for p in module.parameters())
            shape = tuple(output.shape[1:])
            macs = _macs(module, output)
            layers.append(Layer(name, type(module).__name__, shape, parameters, macs))
            taken = sum(x.numel() for x in inputs if isinstance(x, Tensor))
            peak = max(peak, output.numel() + taken)

        return hook

    leaves = [(name, m) for name, m in model.named_modules() if not any(m.children())]
    handles = [module.register_forward_hook(record(name)) for name, module in leaves]
    try:
        with evaluating(model), FlopCounterMode(display=False) as counter:
            model(*(torch.zeros(shape) for shape in spec_of(model).input_shapes))
    finally:
        for handle in handles:
            handle.remove()
    counts = {
        name.partition(".")[2]: sum(found.values()) // 2
        for name, found in counter.get_flop_counts().items()
    }
    layers = [replace(each, macs=each.macs or counts.get(each.name, 0)) for each in layers]
    total = sum(p.numel() for p in model.parameters())
    return Summary(total, sum(layer.macs for layer in layers), peak, tuple(layers))


def _first_tensor(answer: Any) -> Tensor | None:
    """What a layer computes; of several results, as a recurrent layer has, the first."""
    while isinstance(answer, (tuple, list)) and answer:
        answer = answer[0]
    return answer if isinstance(answer, Tensor) else None


def _macs(module: nn.Module, output: Tensor) -> int:
    """Multiply-accumulates of one layer; normalisation folds away, activations do not count."""
    if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return output.numel() * module.weight[0].numel()
    if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
        return output.numel() * module.weight[:, 0].numel() // math.prod(module.stride)
    if isinstance(module, nn.RNNBase):
        steps = math.prod(output.shape[:-1])
        return steps * sum(p.numel() for n, p in module.named_parameters() if "weight" in n)
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 0
