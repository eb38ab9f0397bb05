"""Rewriting of functions, and proof that what comes of it is equal."""

from __future__ import annotations

import torch
from edgeark.export.check import check_model
from edgeark.export.rewrite import Rewritten, rewrite
from edgeark.export.targets import find_target, find_targets
from torch import Tensor, nn

from support.settled import SPEC
from support.tries import Between, Function


def rewritten(function: Function, *targets: str) -> Rewritten:
    """A network around the function, rewritten for some targets."""
    return rewrite(Between(function), SPEC.input_shape, [find_target(name) for name in targets])


def same(function: Function, x: Tensor, *targets: str) -> Rewritten:
    """Rewritten until nothing is left, and equal, on two images at a time as well."""
    done = rewrite(Whole(function), x.shape, find_targets(",".join(targets)))
    assert done.changes and not done.left
    assert not check_model(done.model, x.shape, find_targets(",".join(targets)))
    for image in (x, torch.cat((x, -x))):
        torch.testing.assert_close(done.model(image), function(image), rtol=1e-4, atol=1e-5)
    return done


class Whole(nn.Module):
    """A network that is the function alone."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)
