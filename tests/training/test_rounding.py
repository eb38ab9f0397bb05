"""First filters on the grid of int8: they are there, and the images notice little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.training.rounding import _LEVELS, Grid, finish_whitened, round_first_filters
from edgeark.training.whitening import start_whitened
from edgeark.zoo import create_model
from edgeark.zoo.weights import load_weights, read_header, save_weights
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d


def smooth_images(rng: np.random.Generator, channels: int = 1) -> np.ndarray:
    """Bright areas with faint noise, as photographs have them."""
    coarse = rng.integers(40, 220, (40, channels, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
    return (coarse + rng.integers(-6, 7, coarse.shape)).astype(np.uint8)


def shares(images: Tensor) -> Tensor:
    return images.float() / 255


def plain(weights: np.ndarray) -> np.ndarray:
    scale = np.abs(weights).max() / _LEVELS
    return np.rint(weights / scale) * scale


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 12), st.floats(0, 0.999))
def test_a_filter_is_on_the_grid_and_no_worse_than_rounded(
    seed: int, size: int, likeness: float
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=size)
    covariance = (1 - likeness) * np.eye(size) + likeness
    found = Grid(covariance).nearest(weights)
    steps = found / np.abs(found).max() * _LEVELS
    assert steps == pytest.approx(np.rint(steps), abs=1e-6)
    assert error(found - weights, covariance) <= error(plain(weights) - weights, covariance) + 1e-12


def error(difference: np.ndarray, covariance: np.ndarray) -> float:
    return float(difference @ covariance @ difference)


def test_a_filter_of_zeros_stays() -> None:
    assert not Grid(np.eye(9)).nearest(np.zeros(9)).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_filters_lose_little_where_plain_rounding_costs_much(channels: int) -> None:
    """How much is a matter of the images and of the last digits of eigenvectors: 1 to 50 times."""
    pairs = [losses(np.random.default_rng(seed), channels) for seed in range(8)]
    assert all(bool((ours <= 1.01 * theirs).all()) for ours, theirs in pairs)
    ours, theirs = (float(torch.stack(errors).sum()) for errors in zip(*pairs, strict=True))
    assert ours < theirs / 3


def losses(rng: np.random.Generator, channels: int) -> tuple[Tensor, Tensor]:
    """Of each filter of a stem: its squared error on images on the grid, and rounded plainly."""
    images = smooth_images(rng, channels)
    torch.manual_seed(0)
    model = create_model("unet_8", in_channels=channels, input_size=(32, 32), width=0.5).eval()
    start_whitened(model, images, shares)
    block = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    conv = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    before, x = conv.weight.detach().clone(), shares(torch.from_numpy(images))
    assert block.running_mean is not None
    shift = block.running_mean.clone()
    round_first_filters(model, images, shares)

    after = conv.weight.detach()
    engines = torch.from_numpy(np.stack([plain(w) for w in after.flatten(1).numpy()]))
    torch.testing.assert_close(engines.view_as(after).float(), after, rtol=0, atol=1e-6)
    shift = (block.running_mean - shift)[None, :, None, None]
    naive = torch.from_numpy(np.stack([plain(w) for w in before.flatten(1).numpy()]))
    wanted = conv2d(x, before)
    ours = (conv2d(x, after) - shift - wanted).square().mean((0, 2, 3))
    theirs = (conv2d(x, naive.view_as(before)) - wanted).var((0, 2, 3))
    return ours, theirs


def test_the_file_gets_them_too(tmp_path: Path, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    model = create_model("unet_8", input_size=(32, 32), width=0.5)
    images = smooth_images(rng)
    path = save_weights(model, tmp_path / "w.safetensors", {"epoch": "3"})
    finish_whitened(model, path, images, shares)
    assert read_header(path) == {"epoch": "3"}
    again = load_weights(create_model("unet_8", input_size=(32, 32), width=0.5), path)
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
    finish_whitened(again, path, images, shares)  # on the grid they stay, but for a filter's scale
    ours, theirs = (
        next(m for m in net.modules() if isinstance(m, nn.Conv2d)) for net in (again, model)
    )
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-2, atol=0)
