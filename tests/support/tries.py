"""Many small networks through a toolchain's converter in one process: ``tries_worker.py``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from edgeark.core.messages import format_shape
from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.lint import capture_network, check
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion, Precision, Target
from edgeark.export.targets.isolated import IsolatedTarget, WorkerTarget
from edgeark.export.toolchains import Toolchain, ToolchainError, call
from edgeark.zoo import ModelSpec
from torch import Tensor, nn
from torch.nn import functional as f

from support.settled import SPEC, make_images

Function = Callable[[Tensor], Tensor]
Arrays = dict[str, np.ndarray]


class Between(nn.Module):
    """What is tried, on a map of eight channels; behind it a convolution, if it gives a map."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Conv2d(3, 8, 3, padding=1)
        self.function = function
        self.eval()
        with torch.no_grad():
            shape = function(torch.zeros(1, 8, *SPEC.input_size)).shape
        self.behind = nn.Conv2d(shape[1], 4, 1) if len(shape) == 4 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.function(self.before(x)))


class Branches(nn.Module):
    """Each of several, with an output of its own."""

    def __init__(self, functions: Sequence[Function]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Between(function) for function in functions)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(x) for part in self.parts)


@dataclass(frozen=True)
class Try:
    """``error`` is the toolchain's, ``values`` what its worker says, ``sqnr_db`` of the answers."""

    error: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    sqnr_db: float = -200.0


class Networks(nn.Module):
    """Several networks that read one image, each with an output of its own."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(networks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(x) for part in self.parts)


def findings(target: Target, function: Function) -> set[str]:
    """The names of the rules that fire."""
    network = capture_network(Between(function), SPEC.input_shape)
    return {finding.rule for finding in check(network, target.rules(), target.full_name)}


def try_each(
    target: WorkerTarget,
    functions: Sequence[Function],
    folder: Path,
    *,
    precision: Precision = "float32",
    runs: bool = True,
    without: Sequence[str] = (),
    around: Callable[[Function], nn.Module] = Between,
) -> list[Try]:
    """Convert a network around each function, and run it on images.

    Before them comes one that every toolchain takes: where that fails, no failure says anything.

    Args:
        target: by its own worker, in one process.
        functions: each makes one tensor of a map.
        folder: where the files go: of the first into ``0``.
        precision: int8 is calibrated on these images.
        runs: whether there is something that runs them.
        without: fixes that the worker is to leave out.
        around: makes the network.
    """
    networks = [(around(function), SPEC) for function in functions]
    return try_networks(target, networks, folder, precision=precision, runs=runs, without=without)


def try_networks(
    target: WorkerTarget,
    networks: Sequence[tuple[nn.Module, ModelSpec]],
    folder: Path,
    *,
    precision: Precision = "float32",
    runs: bool = True,
    without: Sequence[str] = (),
) -> list[Try]:
    """The same of whole networks, each with its input's size."""
    is_int8 = precision == "int8"
    graphs, jobs = [], []
    unwritten: dict[int, Try] = {}  # what PyTorch cannot export, by its place
    arrays: Arrays = {}
    for index, (model, spec) in enumerate([(Between(f.relu), SPEC), *networks]):
        out = folder / ("control" if index == 0 else str(index - 1))
        out.mkdir()
        graphs.append(Graph(model, spec, out))
        key = format_shape(spec.input_shape)
        arrays[key] = images = make_images(4, spec.input_shape[1:], seed=0)
        job = Conversion(graphs[-1], precision, out, out / "log.txt", images if is_int8 else None)
        try:
            arguments, run = _arguments(target, job)
        except EdgearkError as error:
            unwritten[index] = Try(str(error))
            jobs.append([])
            continue
        steps = [["convert", arguments, key if is_int8 else ""]]
        jobs.append([*steps, *([["run", run, key]] if runs else [])])
    toolchain = Tries(**{f.name: getattr(target.toolchain, f.name) for f in fields(Toolchain)})
    given = {"worker": str(target.toolchain.worker), "jobs": jobs, "without": list(without)}
    try:
        values, answers = _call(toolchain, given | {"forks": False}, arrays, folder)
    except ToolchainError as error:
        assert "the process died with SIG" in str(error)
        values, answers = _call(toolchain, given | {"forks": True}, arrays, folder)
    tries = []
    for index, (graph, said) in enumerate(zip(graphs, values["tries"], strict=True)):
        if index in unwritten:
            tries.append(unwritten[index])
            continue
        images = arrays[format_shape(graph.spec.input_shape)]
        try:
            sqnr = compare(graph.reference(images, batch=1), [answers[f"{index} output0"]]).sqnr_db
        except (EdgearkError, KeyError):
            sqnr = -200.0
        tries.append(Try(said.get("error", ""), said, sqnr))
    control, *tried = tries
    assert not control.error and (control.sqnr_db > 20 or not runs), control
    return tried


def _call(toolchain: Toolchain, given: dict[str, Any], arrays: Arrays, folder: Path) -> Any:
    return call(toolchain, "try_each", given, arrays, log=folder / "log.txt")


class Tries(Toolchain):
    """A toolchain whose worker is ``tries_worker.py``, which loads the toolchain's own."""

    @property
    def worker(self) -> Path:
        return Path(__file__).with_name("tries_worker.py")


def _arguments(target: WorkerTarget, job: Conversion) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the target would tell its worker: to convert, and to run what came of it."""
    recorded: list[dict[str, Any]] = []

    def record(function: str, arguments: dict[str, Any], *_: object, **__: object) -> Any:
        recorded.append(arguments)
        return {}, {}

    with patch.object(target, "call", record):
        try:
            artifact = target.convert(job)
        # It reads what the worker says, which is nothing yet.
        except (EdgearkError, LookupError, OSError):
            if not recorded:
                raise
            artifact = None
    (convert,) = recorded
    file = Path(convert["out"])
    run = {**convert, "folder": str(file.parent), "files": [file.name]}
    if artifact and isinstance(target, IsolatedTarget):
        run |= target.arguments(artifact)
    return convert, run
