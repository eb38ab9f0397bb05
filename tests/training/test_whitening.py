"""The network that a training begins with: whitening filters, and identities behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from edgeark.training.config import RecipeError
from edgeark.training.whitening import start_whitened
from edgeark.zoo import create_model
from edgeark.zoo.layers import ConvBnAct
from torch import Tensor


def shaded_images(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Neighbours are alike, and so are the colours of a pixel, as in photographs."""
    rng = np.random.default_rng(seed)
    gray = rng.normal(size=(count, 1, side, side)).cumsum(2).cumsum(3)
    gray /= np.abs(gray).max((2, 3), keepdims=True)
    colors = rng.normal(size=(count, 3, side, side))
    return (128 + 90 * gray + 8 * colors).clip(0, 255).astype(np.uint8)


def normalize(images: Tensor) -> Tensor:
    return (images.float() - 128) / 64


@torch.no_grad()
def test_filters_of_the_first_layer_see_independent_things() -> None:
    model = create_model("vgg_s")
    images = shaded_images(64, 32)
    start_whitened(model, images, normalize)
    first = model.features[0].conv  # type: ignore[union-attr, index]
    seen = torch.nn.functional.conv2d(normalize(torch.from_numpy(images)), first.weight)
    kinds = seen.movedim(1, -1).flatten(0, 2).T
    assert torch.equal(kinds[0::2], -kinds[1::2])
    correlation = torch.corrcoef(kinds[0::2])
    torch.testing.assert_close(correlation, torch.eye(16), atol=2e-3, rtol=0)
    power = kinds[0::2].var(1)
    assert (power[:-1] >= power[1:] - 1e-4).all()  # the strongest first


@pytest.mark.parametrize("name", ["vgg_s", "vgg_kpu"])
@torch.no_grad()
def test_further_filters_begin_as_identities(name: str) -> None:
    model = create_model(name).eval()
    start_whitened(model, shaded_images(8, 32), normalize)
    _, *further = [m for m in model.modules() if isinstance(m, ConvBnAct)]
    for block in further:
        x = torch.rand(1, block.conv.in_channels, 8, 8)
        same = torch.equal(block.conv(x)[:, : block.conv.in_channels], x)
        assert same == (block.conv.kernel_size == (3, 3))


@torch.no_grad()
def test_what_there_are_no_components_for_stays_random() -> None:
    torch.manual_seed(0)
    model = create_model("vgg_kpu")  # 64 filters; 27 values in a patch make 54
    first = model.features[0].conv  # type: ignore[union-attr, index]
    before = first.weight.clone()
    start_whitened(model, shaded_images(8, 32), normalize)
    assert torch.equal(first.weight[54:], before[54:])
    assert not torch.isclose(first.weight[:54], before[:54]).all(1).any()


def test_a_network_of_other_blocks_is_refused() -> None:
    with pytest.raises(RecipeError, match="this one has none"):
        start_whitened(torch.nn.Conv2d(3, 8, 3), shaded_images(2, 8), normalize)
