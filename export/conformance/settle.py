"""Networks that nobody has trained, such that their answers depend on their input."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...zoo.tasks.images import network_inputs
from ..sources import Source
from ..sources.samples import noise_samples

_COUNT = 32
_TINY = 0.01  # a layer scale begins at 1e-6 to 1e-4


def settle(source: Source) -> None:
    """Open the branches of an untrained network, and set the statistics of its BatchNorms by noise.

    A branch that begins behind a layer scale of 1e-6, or a norm whose weights are 0, adds nothing
    to the answers, and hides whatever an engine does in it: such scales become 1. With the
    statistics that BatchNorms begin with (mean 0, variance 1) a deep network's signal dies out or
    explodes: they are taken from noise. Training leaves none of these values, so a trained network
    stays as it is; so do the statistics of one that takes no batch.
    """
    with torch.no_grad():
        for scale in source.model.parameters():
            if _is_uniform(scale) and 0 < scale.flatten()[0].abs() < _TINY:
                scale.fill_(1.0)
    norms = [
        module
        for module in source.model.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    ]
    if norms and all(map(_is_untouched, norms)):
        _set_statistics(source, norms)


def _set_statistics(source: Source, norms: list[_BatchNorm]) -> None:
    samples = noise_samples(source.spec, _COUNT, seed=2)
    inputs = network_inputs(samples, source.spec.mean, source.spec.std)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.affine and not norm.weight.any():
            nn.init.ones_(norm.weight)
        norm.momentum = 1.0
        norm.train()
    try:
        with torch.no_grad(), contextlib.suppress(RuntimeError, ValueError):
            source.model(*map(torch.from_numpy, inputs))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _is_uniform(values: Tensor) -> bool:
    return values.numel() > 1 and bool((values == values.flatten()[0]).all())


def _is_untouched(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    return bool((mean == 0).all() and (variance == 1).all())
