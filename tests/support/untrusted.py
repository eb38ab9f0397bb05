"""Programs that do what they should not, and a worker that tries."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from edgeark.export.toolchains import Toolchain
from torch import Tensor, nn

FILL = 7.0


class Toucher(nn.Module):
    """Writes to a file while it computes."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: Tensor) -> Tensor:
        file = torch.from_file(self.path, True, 10)
        file.fill_(7.0)
        return x.flatten(1)[:, :10] + file


class TouchesWhenLoaded(nn.Module):
    """Writes to a file while it is loaded."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path
        self.seen = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.path, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.path, self.training = state
        self.seen = torch.from_file(self.path, True, 10).fill_(7.0)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10]


class Unknown(nn.Module):
    """Calls an operator that networks do not have."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.geqrf(x)[0]


class _FakeToolchain(Toolchain):
    def ensure(self) -> Path:
        return Path(sys.executable)

    @property
    def worker(self) -> Path:
        return Path(__file__).with_name("untrusted_worker.py")


def fake_toolchain() -> Toolchain:
    return _FakeToolchain("fake", packages=(), home=Path(), python="", download_mb=0)
