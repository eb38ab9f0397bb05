"""A network that draws random numbers as it answers cannot be compared with any engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark.export.check import check_model
from edgeark.export.rewrite import RewriteError, rewrite
from edgeark.export.targets import find_target
from torch import Tensor, nn

HERE = Path(__file__)


def line_of(text: str) -> int:
    return next(i for i, line in enumerate(HERE.read_text().splitlines(), 1) if text in line)


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


class NoisyConstant(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty(3, 1, 1).uniform_()


class NoisyInAutocast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            return x @ torch.rand(8, 8)


class AlwaysDropping(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout2d(x, 0.3, training=True)


@pytest.mark.parametrize(
    "module, text",
    [
        (Noisy, "torch.randn_like(x)"),
        (NoisyConstant, ".uniform_()"),
        (NoisyInAutocast, "torch.rand(8, 8)"),
        (AlwaysDropping, "dropout2d(x, 0.3, training=True)"),
    ],
)
def test_random_numbers_in_the_forward_pass_are_a_finding(
    module: type[nn.Module], text: str
) -> None:
    (finding,) = check_model(module(), (1, 3, 8, 8), [find_target("mnn")])
    assert (finding.rule, finding.severity) == ("random-numbers", "error")
    assert finding.source.endswith(f"{HERE.name}:{line_of(text)}")
    assert "buffer" in finding.fix
    with pytest.raises(RewriteError, match="draws random numbers"):
        rewrite(module(), (1, 3, 8, 8), [find_target("mnn")])


class DropsInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(8, 8, num_layers=2, dropout=0.3, batch_first=True)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.rrelu(self.drop(x)).flatten(1, 2)
        y = nn.functional.scaled_dot_product_attention(y, y, y)
        return self.recurrent(y)[0]


def test_what_drops_out_in_training_alone_draws_no_random_numbers() -> None:
    model = DropsInTraining().train()
    assert check_model(model, (1, 3, 8, 8), [find_target("mnn")]) == []
