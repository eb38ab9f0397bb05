"""Networks against targets, cell by cell: each network in a process that may die of an engine."""

from __future__ import annotations

import json
import logging
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.scratch import scratch_folder
from ...errors import SourceError
from ..pipeline import planned_precisions
from ..targets import find_target, find_targets
from ..targets.base import Target
from ..toolchains import ToolchainError
from ..toolchains.environment import dying_with_us
from .ask import Job, shorten
from .records import RESULTS, Cell, Prediction, read_cells, write_cells
from .requests import NamedRequest, Place

logger = logging.getLogger(__name__)

TIMEOUT_S = 900.0  # of a cell, unless the user says otherwise; and for opening a network
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_MODULE = "edgeark.export.conformance.ask"


@dataclass(frozen=True)
class Measured:
    """What :func:`measure` found.

    Args:
        cells: of the networks and targets that were asked about.
        unopened: why networks could not be opened, a line each.
    """

    cells: tuple[Cell, ...]
    unopened: tuple[str, ...]


def measure(
    requests: Sequence[NamedRequest],
    to: str | Sequence[str],
    path: Path = RESULTS,
    *,
    int8: bool = False,
    again: bool = False,
    predict_only: bool = False,
    limit: int | None = None,
    timeout: float = TIMEOUT_S,
    on_step: Callable[[str], None] | None = None,
) -> Measured:
    """Ask the rules and the engines about each network, and record every answer when it is there.

    The engines are asked whatever the rules say. What the file has already is not converted again,
    so that a run which was killed goes on; what rules say is brought up to date.

    Args:
        requests: the networks.
        to: targets, or groups like ``all``.
        path: the file of results.
        int8: in int8 as well, where the target can.
        again: convert again what the file has.
        predict_only: convert nothing: ask the rules again about what the file has.
        limit: at most so many test samples.
        timeout: seconds for each conversion and run.
        on_step: told what is being done.

    Raises:
        EdgearkError: unknown targets, or a file of something else.
    """
    targets = find_targets(to if isinstance(to, str) else ",".join(to))
    plan: list[Place] = [
        (target.full_name, precision)
        for target in targets
        for precision in planned_precisions(target, int8)
    ]
    _install(targets)
    unopened: list[str] = []
    for request in requests:
        known = {cell.key: cell for cell in read_cells(path)}
        cells = [known[key] for key in map(request.key, plan) if key in known]
        kept = {(c.target, c.precision) for c in cells if c.real != "unavailable" and not again}
        to_do = [] if predict_only else [place for place in plan if place not in kept]
        if not to_do and not (predict_only and cells):
            continue
        if on_step:
            on_step(request.name)
        try:
            _measure_network(request, plan, to_do, path, limit, timeout, on_step)
        except SourceError as error:
            unopened.append(str(error))
    wanted = {request.key(place) for request in requests for place in plan}
    cells = tuple(cell for cell in read_cells(path) if cell.key in wanted)
    return Measured(cells, tuple(unopened))


def _install(targets: Sequence[Target]) -> None:
    """Toolchains first: installing them is no part of a cell's time. What fails fails there."""
    for target in targets:
        for toolchain in target.toolchains():
            try:
                toolchain.ensure()
            except ToolchainError as error:
                logger.warning("%s", error)


def _measure_network(
    request: NamedRequest,
    plan: Sequence[Place],
    to_do: Sequence[Place],
    path: Path,
    limit: int | None,
    timeout: float,
    on_step: Callable[[str], None] | None,
) -> None:
    """All cells of a network; after a death its process is started again for those that are left.

    Raises:
        SourceError: it cannot be opened, or its process dies before the first conversion.
    """
    left = list(to_do)
    while True:
        begun: Place | None = None
        predictions: dict[Place, Prediction] = {}
        with _asking(Job(request.request, plan, tuple(left), limit, request.form)) as child:
            while message := child.next(timeout if begun else TIMEOUT_S):
                event = message.pop("event")
                if event == "unopened":
                    raise SourceError(f"{request.name}: {message['cause']}")
                if event == "predicted":
                    found = map(Prediction.model_validate, message["predictions"])
                    predictions = dict(zip(plan, found, strict=True))
                    _predict_again(request, predictions, path)
                elif event == "begun":
                    begun = message["target"], message["precision"]
                    if on_step:
                        on_step(f"{request.name} to {' '.join(begun)}")
                elif begun is not None:
                    _record(request, begun, predictions[begun], message, path)
                    left.remove(begun)
                    begun = None
            end = child.how_it_ended()
        if begun is not None:
            _record(request, begun, predictions[begun], end, path)
            left.remove(begun)
        elif left:
            raise SourceError(f"{request.name}: {end['cause']}")
        if not left:
            return


def _predict_again(request: NamedRequest, predictions: dict[Place, Prediction], path: Path) -> None:
    """Bring up to date what the file says of a network."""
    new = {request.key(place): prediction for place, prediction in predictions.items()}
    cells = read_cells(path)
    changed = [c.replace(**dict(new[c.key])) if c.key in new else c for c in cells]
    if changed != cells:
        write_cells(changed, path)


def _record(
    request: NamedRequest, place: Place, prediction: Prediction, found: dict[str, Any], path: Path
) -> None:
    target, precision = place
    cell = Cell(
        **dict(prediction),
        **found,
        network=request.name,
        input_shape=request.input_shape,
        target=target,
        precision=precision,
        versions=find_target(target).versions(),
    )
    write_cells({**{each.key: each for each in read_cells(path)}, cell.key: cell}.values(), path)


class _Child:
    """The process of one network, and what it says."""

    def __init__(self, job: Job, log: Path) -> None:
        self._log = log
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._late_after: float | None = None
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                dying_with_us([sys.executable, "-m", _MODULE]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.process.stdin is not None
        with self.process.stdin as pipe:
            pickle.dump(job, pipe)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def next(self, timeout: float) -> dict[str, Any] | None:
        """What it says next; None: it has ended, or says nothing for ``timeout`` seconds."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            self._late_after = timeout
            return None
        return json.loads(line) if line else None

    def how_it_ended(self) -> dict[str, Any]:
        """What became of the cell that it was at."""
        if self._late_after is not None:
            return {"real": "stopped", "cause": f"no end within {self._late_after:.0f} s"}
        code = self.process.wait()
        if code >= 0:
            cause = f"its process ended with status {code}{self._last_words()}"
            return {"real": "error", "cause": cause}
        name = signal.Signals(-code).name
        if -code in _FROM_OUTSIDE:
            return {"real": "stopped", "cause": f"its process was killed by {name}"}
        return {"real": "error", "cause": f"its process died with {name}{self._last_words()}"}

    def _last_words(self) -> str:
        lines = [line for line in self._log.read_text(errors="replace").splitlines() if line]
        return f" after saying: {shorten(lines[-1])}" if lines else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def _asking(job: Job) -> Iterator[_Child]:
    with scratch_folder("asking") as folder:
        child = _Child(job, folder / "log.txt")
        try:
            yield child
        finally:
            child.kill()
