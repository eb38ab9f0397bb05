"""The parts of an encoder that make its feature maps: where they are cut, and what they give.

A model whose encoder can serve another network has a method ``feature_stages()``. It returns
consecutive parts of the encoder; run one after another, the i-th gives feature map i, the deepest
map of its size, and every map has half the side of the one before. The parts are views, made on
call: they hold the model's own layers and add nothing to its state dict.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from .modes import evaluating
from .spec import spec_of


@dataclass(frozen=True)
class Stage:
    """One feature map; ``shape`` is ``(C, h, w)`` for an image of the size that was asked for.

    ``reduction`` is pixels of the image to one of the map. ``h`` times it may fall short of the
    image's side: an encoder without padding (``mnist``) loses a border.
    """

    index: int
    channels: int
    reduction: int
    shape: tuple[int, ...]


def split_stages(features: nn.Sequential) -> list[nn.Sequential]:
    """Cut a chain of layers in front of each one of stride 2, but the first.

    So a stage ends with the deepest map of its size; a pool belongs to the stage that it opens.
    """
    starts = [i for i, layer in enumerate(features) if i == 0 or _shrinks(layer)]
    return [features[start:end] for start, end in pairwise([*starts, len(features)])]


def feature_stages(model: nn.Module) -> list[nn.Sequential]:
    """The model's ``feature_stages()``; empty for a model that has none."""
    method = getattr(model, "feature_stages", None)
    return [] if method is None else method()


@torch.no_grad()
def measure_stages(model: nn.Module, input_size: tuple[int, int] | None = None) -> list[Stage]:
    """What each stage of a model of :func:`create_model` gives, found by running one black image.

    Args:
        model: a model with ``feature_stages()``; without, the list is empty.
        input_size: height and width of the image; the model's own unless given.
    """
    spec = spec_of(model)
    if not feature_stages(model):
        return []
    height, width = input_size or spec.input_size
    like = next(model.parameters())
    x = like.new_zeros(1, spec.in_channels, height, width)
    measured: list[Stage] = []
    with evaluating(model):  # a measurement leaves the running statistics alone
        for index, stage in enumerate(feature_stages(model)):
            x = stage(x)
            shape = tuple(x.shape[1:])
            reduction = 2 * measured[-1].reduction if measured else round(height / shape[1])
            measured.append(Stage(index, shape[0], reduction, shape))
    return measured


def _shrinks(layer: nn.Module) -> bool:
    strides = (getattr(module, "stride", 1) for module in layer.modules())
    return any(stride in (2, (2, 2)) for stride in strides)
