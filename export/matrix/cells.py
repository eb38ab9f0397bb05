"""A cell: one network on one target, in all of its precisions."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ...core.scratch import scratch_folder
from ...errors import EdgearkError
from ..pipeline import Step, export_all, silent
from ..prepare import EvalContext
from ..request import NetworkRequest
from ..results.schema import ExportResult, MatrixResult
from ..targets import find_target
from .records import measured, weights_digest


@dataclass(frozen=True)
class Cell:
    """What is measured at a time; it can be sent to another process.

    Args:
        network: cells of the same one share it, opened and with its reference answers.
        request: of the network.
        target: its full name.
        limit: at most so many test images.
    """

    network: str
    request: NetworkRequest
    target: str
    limit: int | None = None


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Args:
        rows: a row a precision, without the outputs; files are gone, but for logs of errors.
        results: the same as they are recorded.
        fault: why the network could not be measured; '' where it was.
    """

    rows: tuple[ExportResult, ...] = ()
    results: tuple[MatrixResult, ...] = ()
    fault: str = ""


def measure_cell(cell: Cell, on_step: Step = silent) -> CellResult:
    """Export the network to the target in float and int8, and prove each."""
    try:
        with opened.use(cell, on_step) as network, scratch_folder("matrix") as out:
            targets = [find_target(cell.target)]
            found = export_all(network.context, targets, out, int8=True, on_step=on_step)
            rows = tuple(row.replace(outputs=[]) for row in found)
            results = tuple(measured(row, network.weights, cell.limit) for row in rows)
            return CellResult(rows, results)
    except EdgearkError as error:
        return CellResult(fault=f"{cell.request.title}: {error}")


@dataclass(frozen=True)
class _Network:
    context: EvalContext
    weights: str


@dataclass
class _Entry:
    """A network that is opened by the first cell that comes to it, or could not be."""

    users: int = 0
    network: _Network | None = None
    error: EdgearkError | None = None
    opening: threading.Lock = field(default_factory=threading.Lock)
    files: ExitStack = field(default_factory=ExitStack)

    def open(self, cell: Cell, on_step: Step) -> _Network:
        with self.opening:
            if self.error is not None:
                raise self.error
            if self.network is None:
                title = cell.request.title
                on_step(f"{title}: asking PyTorch for the answers to compare with")
                folder = self.files.enter_context(scratch_folder("graph"))
                try:
                    context = cell.request.prepare(folder, limit=cell.limit)
                    self.network = _Network(context, weights_digest(cell.request))
                except EdgearkError as error:
                    self.error = error
                    raise
            return self.network


class OpenNetworks:
    """The networks that cells of this process are at; one that no cell uses goes with the next."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, cell: Cell, on_step: Step) -> Iterator[_Network]:
        """The cell's network, opened once however many cells of it there are.

        Raises:
            EdgearkError: it cannot be opened, or its data cannot be read.
        """
        with self._lock:
            entry = self._entries.setdefault(cell.network, _Entry())
            entry.users += 1
            self._close_unused()
        try:
            yield entry.open(cell, on_step)
        finally:
            with self._lock:
                entry.users -= 1

    def close(self) -> None:
        """Let go of those that no cell uses."""
        with self._lock:
            self._close_unused()

    def _close_unused(self) -> None:
        for name, entry in list(self._entries.items()):
            if not entry.users:
                self._entries.pop(name).files.close()


opened = OpenNetworks()
