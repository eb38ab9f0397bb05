"""How the rules of the CPU engines are tried: small constructs, and what every rule must do.

A case is a rule's name, a network where it fires, and a neighbour where it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from edgeark.export.lint import Rule
from edgeark.export.targets import find_target
from edgeark.export.targets.isolated import WorkerTarget
from edgeark.export.toolchains import ToolchainError
from torch import Tensor, nn
from torch.nn import functional as f

from support.settled import SPEC, prove, settle
from support.target_base import installed_target
from support.tries import Branches, Function, Try, findings, try_each

Case = tuple[str, Function, Function]

GRID = f.affine_grid(
    torch.tensor([[[1.2, 0.3, 0.1], [-0.3, 1.1, 0.05]]]), [1, 8, 24, 40], align_corners=False
)
KERNEL = torch.arange(-12.0, 12).sin().view(4, 2, 3) / 3  # of a 1-D convolution

DEATH = "the process died with SIG"  # of which signal, the heap decides that was written over


def resize(x: Tensor, size: tuple[int, ...], mode: str, **options: object) -> Tensor:
    return f.interpolate(x, size, mode=mode, **options)  # type: ignore[arg-type]


def scale(x: Tensor, factor: float, mode: str) -> Tensor:
    return f.interpolate(x, scale_factor=factor, mode=mode)


def sample(x: Tensor, mode: str, padding: str) -> Tensor:
    grid = GRID.expand(len(x), -1, -1, -1)
    return f.grid_sample(x, grid, mode, padding, align_corners=False)


def rows(x: Tensor) -> Tensor:
    return x.flatten(2)


def smaller(x: Tensor) -> Tensor:
    return resize(x, (12, 20), "bilinear")


def index_of_max(x: Tensor) -> Tensor:
    return f.max_pool2d(x, 2, return_indices=True)[1].float()


def put(x: Tensor) -> Tensor:
    places = (torch.tensor([0]), torch.tensor([2]))
    return torch.index_put(x, places, torch.tensor(1.5))


def fold(x: Tensor) -> Tensor:
    return f.fold(f.unfold(x, 2, stride=2), (24, 40), 2, stride=2)


def conv1d(x: Tensor) -> Tensor:
    return f.conv1d(x.flatten(2), KERNEL, groups=4)


SAME_SIZE = nn.MaxPool2d(3, 1, 1)
DILATED = nn.MaxPool2d(3, 1, 1, dilation=2)
REFLECT = nn.ReflectionPad2d(1)
CIRCULAR: Case = ("circular-padding", nn.CircularPad2d(1), REFLECT)
DIVISOR: Case = ("divisor-override", nn.AvgPool2d(2, divisor_override=3), nn.AvgPool2d(2))
ANTIALIAS: Case = (
    "antialias",
    lambda x: resize(x, (12, 20), "bilinear", antialias=True),
    smaller,
)


def is_right(tried: Try) -> bool:
    return not tried.error and tried.sqnr_db > 75


def rules_fire_alone(name: str, rules: Sequence[Rule], cases: Sequence[Case]) -> None:
    """Each on its case, no other there, and none on the neighbour; no rule without a case."""
    target = find_target(name)
    assert target.rules() == rules
    assert {rule.name for rule in rules} == {rule for rule, _, _ in cases}
    fired = [(findings(target, bad), findings(target, good)) for _, bad, good in cases]
    assert fired == [({rule}, set()) for rule, _, _ in cases]


def engine_fails(name: str, cases: Sequence[Case], folder: Path) -> None:
    """It refuses, answers something else, or dies: of that, the others are tried on their own."""
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    folder.mkdir(exist_ok=True)
    try:
        tried = try_each(target, [bad for _, bad, _ in cases], folder)
    except ToolchainError as error:
        assert DEATH in str(error)
        if middle := len(cases) // 2:
            engine_fails(name, cases[:middle], folder / "first")
            engine_fails(name, cases[middle:], folder / "second")
        return
    seen = zip(cases, tried, strict=True)
    assert [(case[0], t) for case, t in seen if is_right(t)] == []


def engine_is_right_on_neighbours(name: str, cases: Sequence[Case], folder: Path) -> None:
    """All in one network: each is another of its outputs."""
    neighbours = Branches(list(dict.fromkeys(good for _, _, good in cases)))
    prove(installed_target(name), settle(neighbours, SPEC, folder), "float32", folder)
