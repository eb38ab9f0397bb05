"""Blocks that train as parallel branches and run as one convolution: RepVGG, MobileOne, FastViT ...

Structural re-parameterisation: X. Ding et al., "RepVGG: Making VGG-style ConvNets Great Again",
2021. A block knows how to fold itself, by one of the methods that timm and the authors' code have.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .engine import Change, largest_error

logger = logging.getLogger(__name__)

RULE = "training-branches"
_METHODS = ("fuse", "reparameterize", "switch_to_deploy")  # in the order in which timm looks


@dataclass(frozen=True)
class Folded:
    """A network without training branches.

    Args:
        model: the network itself where there are none, or where folding changes its answers.
        changes: one a block.
    """

    model: nn.Module
    changes: tuple[Change, ...] = ()


def fold_branches(model: nn.Module, input_shapes: Sequence[Sequence[int]]) -> Folded:
    """The network with its training branches folded, if it then answers as before.

    Args:
        model: in evaluation mode; it stays as it is.
        input_shapes: ``[1, ...]`` of each input.
    """
    blocks = _outermost(model)
    if not blocks:
        return Folded(model)
    from timm.models import reparameterize_model

    try:
        with torch.no_grad():
            folded = copy.deepcopy(model)
            reparameterize_model(_user_network(folded), inplace=True)
            folded.eval()
        largest_error(model, folded, *input_shapes)
    except Exception as error:  # noqa: BLE001  whatever a method of that name does
        logger.info("%s keeps its training branches: %s", type(model).__name__, error)
        return Folded(model)
    done = "its parallel branches are one operator, as for deployment"
    return Folded(folded, tuple(Change(RULE, name, "", done) for name in blocks))


def _user_network(model: nn.Module) -> nn.Module:
    """Without the wrapper that flattens its outputs."""
    return model.get_submodule(getattr(model, "wrapper_prefix", "").rstrip("."))


def _outermost(model: nn.Module) -> list[str]:
    """The blocks that fold themselves, without those inside of others and the network itself."""
    found: list[str] = []
    for name, module in _user_network(model).named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in found)
        if name and not is_inside and any(callable(getattr(module, m, None)) for m in _METHODS):
            found.append(name)
    return found
