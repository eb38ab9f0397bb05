"""Take over trained weights into a network of other classes: all tensors but the head's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .registry import create_model, name_of, spec_of
from .weights import WeightsError


@dataclass(frozen=True)
class Transfer:
    """Names of the tensors that were taken, and of those that stay as they were initialized."""

    source: str
    taken: tuple[str, ...]
    fresh: tuple[str, ...]

    def describe(self) -> str:
        shown = ", ".join(self.fresh[:4]) + (" ..." if len(self.fresh) > 4 else "")
        return (
            f"{len(self.taken)} of {len(self.taken) + len(self.fresh)} tensors are taken from "
            f"{self.source}; new: {shown or 'none'}"
        )


def transfer_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> Transfer:
    """Copy tensors of the same name and shape into ``model``, but for its head's.

    Args:
        model: of :func:`~edgeark.zoo.create_model`; changed in place.
        state: a trained state dict of the same architecture.
        source: where it is from, for messages.

    Raises:
        WeightsError: less than half of the network's values are in ``state``: it is of another
            architecture.
    """
    head = head_tensors(model)
    own = model.state_dict()
    taken = {
        key: state[key]
        for key, value in own.items()
        if key not in head and key in state and state[key].shape == value.shape
    }
    wanted = sum(value.numel() for key, value in own.items() if key not in head)
    found = sum(value.numel() for value in taken.values())
    if 2 * found < wanted:
        raise WeightsError(
            f"{source} has {found:,} of the {wanted:,} values of {name_of(model)}'s features: it "
            "is of another network"
        )
    model.load_state_dict(taken, strict=False)
    fresh = tuple(key for key in own if key not in taken)
    return Transfer(source, tuple(taken), fresh)


def head_tensors(model: nn.Module) -> set[str]:
    """Names of the tensors whose shape depends on the number of classes."""
    spec = spec_of(model)
    classes = (*spec.classes, "another")
    fields = {
        "classes": classes,
        "input_size": spec.input_size,
        "color": spec.color,
        "mean": spec.mean,
        "std": spec.std,
        "strides": spec.strides,
        "anchors": spec.anchors,
    }
    with torch.random.fork_rng(devices=[]):
        other = create_model(name_of(model), spec=fields, **spec.arguments)
    shapes = {key: value.shape for key, value in other.state_dict().items()}
    return {k for k, value in model.state_dict().items() if shapes.get(k) != value.shape}
