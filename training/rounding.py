"""First filters that survive int8: brought onto its grid where the pictures notice least."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import unfold

from ..zoo.layers import ConvBnAct
from ..zoo.weights import read_header, save_weights

_LEVELS = 127  # on each side of 0: symmetric int8, a scale for each filter
_SCALES = 15  # tried, around the one that makes the largest weight _LEVELS
_FINE = np.linspace(1 - 4e-3, 1 + 4e-3, 1601)  # around the best of them, for float16
_WHITE = 255  # engines that take pixels divide the weights by it
_PIXELS = 4_000_000
_DAMPING = 1e-6  # of the mean variance: patches that never occur must not decide


def finish_whitened(
    model: nn.Module, weights: Path, images: np.ndarray, normalize: Callable[[Tensor], Tensor]
) -> None:
    """:func:`round_first_filters`, also in the file that the model's weights are from."""
    round_first_filters(model, images, normalize)
    save_weights(model, weights, read_header(weights))


@torch.no_grad()
def round_first_filters(
    model: nn.Module, images: np.ndarray, normalize: Callable[[Tensor], Tensor]
) -> None:
    """Put the first convolution's weights onto the grid of symmetric int8, channel by channel.

    Filters that find small contrasts live on cancellation: their weights are large and add up to
    nearly nothing. Rounded each to the nearest, they see the picture's brightness instead. Here the
    roundings of a filter make up for each other: of the points of the grid one is taken that is
    close under the covariance of the pictures' patches, by rounding one weight after another with
    the error passed on (Babai's nearest plane, 1986; for networks as in GPTQ, Frantar et al., 2022)
    and trying single and paired steps from there. The scale of a filter is such that its weights
    suffer little from float16 as well. What the mean patch gains goes into the batch
    normalisation. An engine with such weights then takes them as they are, and another one has no
    harm.

    Args:
        model: with :class:`ConvBnAct` blocks; the first one's convolution is rounded.
        images: training pictures, uint8 ``[N, C, H, W]``.
        normalize: brings them to what the network takes.
    """
    block = next((m for m in model.modules() if isinstance(m, ConvBnAct)), None)
    if block is None or block.conv.groups != 1:
        return
    conv, count = block.conv, max(1, _PIXELS // images[0, 0].size)
    some = normalize(torch.from_numpy(images[:: -(-len(images) // count)]))
    patches = unfold(some, conv.kernel_size, stride=conv.stride).movedim(1, -1).flatten(0, 1)
    covariance = patches.T.double().cov().numpy()
    covariance += _DAMPING * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    mean, filters = patches.mean(dim=0).double().numpy(), conv.weight.flatten(1).double().numpy()
    assert block.bn.running_mean is not None and block.bn.running_var is not None
    gains = block.bn.weight / (block.bn.running_var + block.bn.eps).sqrt()  # as it is folded
    rounded = np.stack(
        [
            _for_float16(_round(weights, covariance), weights, covariance, mean, gain)
            for weights, gain in zip(filters, gains.double().numpy(), strict=True)
        ]
    )
    gained = torch.from_numpy((rounded - filters) @ mean)
    conv.weight.copy_(torch.from_numpy(rounded).view_as(conv.weight))
    block.bn.running_mean += gained.to(block.bn.running_mean)


def _round(weights: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The point of a filter's grids ``[k]`` with the least error under ``covariance``."""
    peak = np.abs(weights).max()
    if peak == 0:
        return weights
    found = []
    for levels in np.linspace(_LEVELS - 0.45, _LEVELS + 0.45, _SCALES):
        scale = peak / levels
        steps = _improve(_nearest_plane(weights / scale, covariance), weights / scale, covariance)
        if np.abs(steps).max() == _LEVELS:  # else an engine would choose another scale
            error = steps * scale - weights
            found.append((error @ covariance @ error, steps * scale))
    plain = np.rint(weights / peak * _LEVELS) * peak / _LEVELS
    return min(found, key=lambda pair: pair[0])[1] if found else plain


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


def _power(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.einsum("ci,ij,cj->c", errors, covariance, errors)


def _nearest_plane(wanted: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Whole numbers near ``wanted``: one is rounded after another, the rest makes up for it."""
    upper = np.linalg.cholesky(covariance).T  # error @ covariance @ error = |upper @ error|^2
    steps = np.zeros_like(wanted)
    for index in reversed(range(len(wanted))):
        behind = upper[index, index + 1 :] @ (wanted - steps)[index + 1 :] / upper[index, index]
        steps[index] = np.rint(wanted[index] + behind)
    return np.clip(steps, -_LEVELS, _LEVELS)


def _improve(steps: np.ndarray, wanted: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Go on to the best neighbour, one or two weights a step away, while there is a better one."""
    one = np.eye(len(wanted))
    singles = np.concatenate([one, -one])
    pairs = (singles[:, None] + singles[None, :]).reshape(-1, len(wanted))
    moves = np.unique(np.concatenate([singles, pairs]), axis=0)
    curvature = np.einsum("mi,ij,mj->m", moves, covariance, moves)
    while True:
        change = 2 * moves @ covariance @ (steps - wanted) + curvature
        change[np.abs(steps + moves).max(axis=1) > _LEVELS] = np.inf
        best = int(change.argmin())
        if change[best] >= -1e-12 * curvature.mean():
            return steps
        steps = steps + moves[best]
