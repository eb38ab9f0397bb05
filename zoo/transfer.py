"""Take over trained weights into a network of other classes: all tensors but the head's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from .spec import name_of
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


def transfer_weights(
    model: nn.Module, state: Mapping[str, Tensor], head: Collection[str], source: str
) -> Transfer:
    """Copy tensors of the same name and shape into ``model``, but for those in ``head``.

    Raises:
        WeightsError: less than half of the network's values are in ``state``: it is of another
            architecture.
    """
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
            f"{source}: {found:,} of the {wanted:,} values of {name_of(model)}'s features match, "
            "too few to start from"
        )
    model.load_state_dict(taken, strict=False)
    return Transfer(source, tuple(taken), tuple(key for key in own if key not in taken))
