"""First filters that survive int8: brought onto its grid where the images notice least."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..zoo.weights import read_header, save_weights
from .data.store import Array
from .whitening import dense_blocks, sample_patches

_LEVELS = 127  # on each side of 0: symmetric int8, a scale for each filter
_SCALES = 15  # tried, around the one that makes the largest weight _LEVELS
_FINE = np.linspace(1 - 4e-3, 1 + 4e-3, 1601)  # around the best of them, for float16
_WHITE = 255  # engines that take pixels divide the weights by it
_DAMPING = 1e-6  # of the mean variance: patches that never occur must not decide


def finish_whitened(
    model: nn.Module, weights: Path, images: Array, normalize: Callable[[Tensor], Tensor]
) -> None:
    """:func:`round_first_filters`, also in the file that the model's weights are from."""
    round_first_filters(model, images, normalize)
    save_weights(model, weights, read_header(weights))


@torch.no_grad()
def round_first_filters(
    model: nn.Module, images: Array, normalize: Callable[[Tensor], Tensor]
) -> None:
    """Put the first convolution's weights onto the grid of symmetric int8, channel by channel.

    Filters that find small contrasts live on cancellation: their weights are large and add up to
    nearly nothing. Rounded each to the nearest, they see the image's brightness instead. Here the
    roundings of a filter make up for each other: of the points of the grid one is taken that is
    close under the covariance of the images' patches, by rounding one weight after another with
    the error passed on (Babai's nearest plane, 1986; for networks as in GPTQ, Frantar et al., 2022)
    and trying single and paired steps from there. The scale of a filter is such that its weights
    suffer little from float16 as well. What the mean patch gains goes into the batch
    normalisation. An engine with such weights then takes them as they are, and another one has no
    harm.

    Args:
        model: with :class:`ConvBnAct` blocks; the first dense one's convolution is rounded.
        images: training images, uint8 ``[N, C, H, W]``.
        normalize: brings them to what the network takes.
    """
    block = next(iter(dense_blocks(model)), None)
    if block is None:
        return
    conv, bn = block.conv, block.bn
    patches = sample_patches(conv, images, normalize)
    covariance = patches.T.double().cov().numpy()
    covariance += _DAMPING * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    mean, filters = patches.mean(dim=0).double().numpy(), conv.weight.flatten(1).double().numpy()
    assert bn.running_mean is not None and bn.running_var is not None
    gains = bn.weight / (bn.running_var + bn.eps).sqrt()  # as it is folded
    grid = Grid(covariance)
    rounded = np.stack(
        [
            _for_float16(grid.nearest(weights), weights, covariance, mean, gain)
            for weights, gain in zip(filters, gains.double().numpy(), strict=True)
        ]
    )
    gained = torch.from_numpy((rounded - filters) @ mean)
    conv.weight.copy_(torch.from_numpy(rounded).view_as(conv.weight))
    bn.running_mean += gained.to(bn.running_mean)


class Grid:
    """Filters whose weights are whole multiples of a scale, and what images see of the rest.

    Args:
        covariance: of patches, ``[k, k]``; positive definite.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        self._covariance = covariance
        # error @ covariance @ error = |upper @ error|^2
        self._upper = np.linalg.cholesky(covariance).T
        one = np.eye(len(covariance))
        singles = np.concatenate([one, -one])
        pairs = (singles[:, None] + singles[None, :]).reshape(-1, len(covariance))
        self._moves = np.unique(np.concatenate([singles, pairs]), axis=0)
        self._slopes = 2 * self._moves @ covariance
        self._curvature = _power(self._moves, covariance)

    def nearest(self, weights: np.ndarray) -> np.ndarray:
        """The point of a filter's grids ``[k]`` with the least error under the covariance."""
        peak = np.abs(weights).max()
        if peak == 0:
            return weights
        found = []
        for levels in np.linspace(_LEVELS - 0.45, _LEVELS + 0.45, _SCALES):
            scale = peak / levels
            steps = self._improve(self._nearest_plane(weights / scale), weights / scale)
            if np.abs(steps).max() == _LEVELS:  # else an engine would choose another scale
                error = steps * scale - weights
                found.append((error @ self._covariance @ error, steps * scale))
        plain = np.rint(weights / peak * _LEVELS) * peak / _LEVELS
        return min(found, key=lambda pair: pair[0])[1] if found else plain

    def _nearest_plane(self, wanted: np.ndarray) -> np.ndarray:
        """Whole numbers near ``wanted``: one is rounded after another, the rest makes up for it."""
        steps = np.zeros_like(wanted)
        for index in reversed(range(len(wanted))):
            row, behind = self._upper[index], slice(index + 1, None)
            made_up = row[behind] @ (wanted - steps)[behind] / row[index]
            steps[index] = np.rint(wanted[index] + made_up)
        return np.clip(steps, -_LEVELS, _LEVELS)

    def _improve(self, steps: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Go on to the best neighbour, one or two weights a step away, while one is better."""
        while True:
            change = self._slopes @ (steps - wanted) + self._curvature
            change[np.abs(steps + self._moves).max(axis=1) > _LEVELS] = np.inf
            best = int(change.argmin())
            if change[best] >= -1e-12 * self._curvature.mean():
                return steps
            steps = steps + self._moves[best]


def _power(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """What the images see of each of ``errors`` ``[n, k]``: ``[n]``."""
    return np.einsum("ci,ij,cj->c", errors, covariance, errors)


def _for_float16(
    rounded: np.ndarray, weights: np.ndarray, covariance: np.ndarray, mean: np.ndarray, gain: float
) -> np.ndarray:
    """``rounded``, scaled a little, so that in float16 it is close to ``weights`` too.

    Args:
        rounded: on the grid, ``[k]``.
        weights: what is wanted, ``[k]``.
        covariance, mean: of patches, ``[k, k]`` and ``[k]``.
        gain: by which the engine multiplies the weights before they become float16.
    """
    if gain == 0:
        return rounded
    candidates = rounded * _FINE[:, None]
    worst = np.zeros(len(candidates))
    for factor in (gain, gain / _WHITE):
        lost = (candidates * factor).astype(np.float16).astype(np.float64) / factor - candidates
        worst = np.maximum(worst, _power(lost, covariance) + (lost @ mean) ** 2)
    return candidates[(worst + _power(candidates - weights, covariance)).argmin()]
