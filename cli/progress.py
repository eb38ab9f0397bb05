"""How far a command is that makes a row for each target and precision."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

from .console import err

if TYPE_CHECKING:
    from ..export.results.schema import ExportResult


class RowProgress:
    """A bar on stderr, with what is being done on which target; on a pipe a line a row.

    Its methods are the callbacks ``on_step`` and ``on_row`` of an export; several threads may call.
    """

    def __init__(self) -> None:
        self._done = 0
        self._lock = threading.Lock()
        words = Column(ratio=1, no_wrap=True, overflow="ellipsis")
        columns = (
            MofNCompleteColumn(),
            BarColumn(16),
            TextColumn("{task.description}", table_column=words, markup=False),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, console=err, transient=True, expand=True)
        self._task = self.bar.add_task("", total=None)

    def step(self, words: str) -> None:
        """What is being done now."""
        self.bar.update(self._task, description=words)

    def row(self, row: ExportResult, total: int) -> None:
        """One of ``total`` rows is there."""
        with self._lock:
            self._done += 1
            self.bar.update(self._task, completed=self._done, total=total)
            if not err.is_terminal:
                what = f"{row.model} {row.target} {row.precision}: {row.status}"
                err.print(f"{self._done}/{total} {what}", soft_wrap=True, markup=False)


@contextmanager
def row_progress() -> Iterator[RowProgress]:
    """The bar while the block runs."""
    progress = RowProgress()
    if not err.is_terminal:
        yield progress
        return
    with progress.bar:
        yield progress
