"""Statistics for networks that nobody has trained, so that their answers depend on the input."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...zoo.tasks.images import network_inputs
from ..sources import Source
from ..sources.samples import noise_samples

_COUNT = 32


def settle(source: Source) -> None:
    """Set the statistics of an untrained network's BatchNorms by noise.

    With those that they begin with (mean 0, variance 1) a deep network's signal dies out or
    explodes, and its answers prove nothing. A network with one BatchNorm that has seen data is
    trained, and stays as it is; so does one that does not take a batch.
    """
    norms = [
        module
        for module in source.model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if not norms or not all(map(_is_untouched, norms)):
        return
    samples = noise_samples(source.spec, _COUNT, seed=2)
    inputs = network_inputs(samples, source.spec.mean, source.spec.std)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    try:
        with torch.no_grad(), contextlib.suppress(RuntimeError, ValueError):
            source.model(*map(torch.from_numpy, inputs))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _is_untouched(norm: nn.Module) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor) and isinstance(variance, Tensor)
    return bool((mean == 0).all() and (variance == 1).all())
