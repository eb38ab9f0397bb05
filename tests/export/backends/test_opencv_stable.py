"""What OpenCV computes rightly in the stable forms of our file: sums, averages, large numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from edgeark.export.targets.isolated import WorkerTarget
from support.target_base import installed_target
from support.tries import findings, try_each
from torch import Tensor
from torch.nn import functional as f


def deep(x: Tensor) -> Tensor:
    return x.view(len(x), 2, 4, 24, 40)


FORMS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x / x.norm(),
    lambda x: f.normalize(x, dim=(0, 1, 2, 3)),  # type: ignore[arg-type]
    lambda x: x / (x * x).sum().sqrt(),
    lambda x: x - x.mean(),
    lambda x: x / x.std(),
    lambda x: x - x.mean((1, 2, 3), True),
    lambda x: x.var((1, 2, 3), keepdim=True) + x,
    lambda x: x.amax((1, 2, 3), True) - x,
    lambda x: deep(x).mean((2, 3, 4)),
    lambda x: deep(x).sum((2, 3, 4)),
    lambda x: torch.linalg.vector_norm(deep(x), dim=(2, 3, 4)),
    lambda x: (60 * x).logsumexp(1),
    lambda x: (60 * deep(x)).logsumexp((2, 3, 4)),
    lambda x: (60 * x).log_softmax(1),
    lambda x: (100 * x).tanh(),
    lambda x: f.gelu(30 * x, approximate="tanh"),
    *(
        partial(f.avg_pool2d, kernel_size=k, stride=s, padding=p, count_include_pad=False)
        for k, s, p in ((3, 1, 1), (3, 2, 1), ((2, 5), (2, 3), (1, 2)))
    ),
    lambda x: f.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    lambda x: f.avg_pool1d(x.flatten(2), 3, 2, 1, count_include_pad=False),
    lambda x: f.avg_pool1d(x.flatten(2).mT, 3, 3, 1, ceil_mode=True, count_include_pad=False),
    lambda x: f.avg_pool3d(deep(x), 3, 2, 1, count_include_pad=False).flatten(1, 2),
    lambda x: f.avg_pool3d(deep(x), 3, 2, 1, True, False).flatten(1, 2),
]


@pytest.mark.parametrize("name", ["opencv", "opencv5"])
def test_a_stable_form_agrees_and_no_rule_refuses_it(name: str, tmp_path: Path) -> None:
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    tried = try_each(target, FORMS, tmp_path)
    assert [(i, t) for i, t in enumerate(tried) if t.error or t.sqnr_db < 75] == []
    assert [rules for form in FORMS if (rules := findings(target, form))] == []
