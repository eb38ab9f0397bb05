"""Blocks with training branches are folded first, where their network then answers as before."""

from __future__ import annotations

from collections.abc import Callable

import timm
import torch
from edgeark.export.check import check_model, check_source
from edgeark.export.rewrite import fold_branches
from edgeark.export.sources import InputOptions, open_source
from edgeark.export.sources.rewriting import rewrite_source
from edgeark.export.targets import find_target
from torch import Tensor, nn

SHAPE = (1, 3, 32, 32)


class Branches(nn.Module):
    """RepVGG's block as its authors write it: it folds itself by ``switch_to_deploy``."""

    error = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.dense, self.pointwise = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 1)
        self.deployed: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.deployed is not None:
            return self.deployed(x)
        return self.dense(x) + self.pointwise(x) + torch.lerp(x, x, 0.5)

    def switch_to_deploy(self) -> None:
        self.deployed = nn.Conv2d(4, 4, 3, 1, 1)
        identity = torch.eye(4)[:, :, None, None]
        added = nn.functional.pad(self.pointwise.weight + identity, (1, 1, 1, 1))
        self.deployed.weight.copy_(self.dense.weight + added + self.error)
        self.deployed.bias.copy_(self.dense.bias + self.pointwise.bias)
        del self.dense, self.pointwise


class Wrong(Branches):
    error = 0.01


class Net(nn.Module):
    """With its outputs by name."""

    def __init__(self, block: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 4, 3), nn.Sequential(block(), nn.ReLU(), block())

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"map": self.body(self.stem(x))}


def convolutions(model: nn.Module) -> int:
    return sum(isinstance(module, nn.Conv2d) for module in model.modules())


def test_blocks_fold_themselves_and_the_original_stays() -> None:
    source = open_source(Net(Branches), InputOptions(shapes=SHAPE_TEXT))
    assert (convolutions(source.model), convolutions(source.folded.model)) == (5, 3)
    assert [change.module for change in source.folding] == ["body.0", "body.2"]
    x = torch.randn(SHAPE)
    torch.testing.assert_close(source.folded.model(x), source.model(x), rtol=1e-4, atol=1e-5)


def test_a_block_that_folds_itself_wrongly_stays_as_it_is() -> None:
    model = Net(Wrong).eval()
    folded = fold_branches(model, [SHAPE])
    assert folded.model is model and folded.changes == ()


def test_a_network_of_timm() -> None:
    model = timm.create_model("mobileone_s0", num_classes=7).eval()
    folded = fold_branches(model, [SHAPE])
    assert convolutions(folded.model) < convolutions(model) / 2 and len(folded.changes) > 10


def test_check_and_rewrite_see_the_network_as_it_is_deployed() -> None:
    """OpenCV has no lerp, which the training branches alone have."""
    source = open_source(Net(Branches), InputOptions(shapes=SHAPE_TEXT))
    target = find_target("opencv")
    as_trained = check_model(source.model, SHAPE, [target])
    assert {finding.rule for finding in as_trained} == {"unknown-operator"}
    assert check_source(source, [target]) == []
    done = rewrite_source(source, [target])
    assert [change.rule for change in done.changes] == ["training-branches"] * 2
    assert set(done.model(torch.zeros(SHAPE))) == {"map"}


SHAPE_TEXT = "3x32x32"
