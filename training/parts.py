"""The parts of a training's data: to train on, to choose the best epoch by, to test on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import MissingPartError
from ..zoo.registry import model_entry
from .config import Recipe
from .data import Frame, ImageSet, load_images
from .data.images import Shape, Split


@dataclass(frozen=True)
class Parts:
    """``val`` is the data set's own, or held out of the training part."""

    train: ImageSet
    val: ImageSet
    test: ImageSet


def load_parts(recipe: Recipe, data: Path | None, share: int) -> Parts:
    """Load a recipe's data at its network's input size.

    Args:
        recipe: names the data set; ``val_size`` images are held out, if it is not 0.
        data: the folder.
        share: without ``val_size`` and a validation part, one in so many images is held out.
    """
    shape, frame = input_shape(recipe), Frame.of(model_entry(recipe.model).spec)

    def load(split: Split) -> ImageSet:
        return load_images(
            recipe.dataset, split, data, shape=shape, frame=frame, ignore=recipe.ignore
        )

    train, val = hold_out(load, recipe.val_size, share)
    return Parts(train, val, load("test"))


def hold_out(
    load: Callable[[Split], ImageSet], count: int, share: int
) -> tuple[ImageSet, ImageSet]:
    """The images to train on, and those that choose the best epoch."""
    train = load("train")
    if not count:
        try:
            return train, load("val")
        except MissingPartError:
            count = max(1, len(train) // share)
    return train.split_off(count)


def input_shape(recipe: Recipe) -> Shape:
    """``(channels, height, width)`` of the network that a recipe trains."""
    spec = model_entry(recipe.model).spec
    height, width = recipe.model_args.get("input_size", spec.input_size)
    return recipe.model_args.get("in_channels", spec.in_channels), height, width
