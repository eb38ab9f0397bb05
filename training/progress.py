"""How a training goes, on stderr: a bar on a terminal, else a line an epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

logger = logging.getLogger(__name__)


class Progress:
    """Shows a training: on a terminal by a bar, elsewhere by a line an epoch.

    Says nothing when it is not enabled.
    """

    def __init__(self, enabled: bool = True, console: Console | None = None) -> None:
        console = console or Console(stderr=True)
        self._lines = enabled and not console.is_terminal
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=10),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not enabled or self._lines,
        )
        self._epochs, self._done, self._note, self._title = 0, 0, "", ""

    @contextmanager
    def training(self, epochs: int, done: int, title: str) -> Iterator[None]:
        self._epochs, self._done, self._title = epochs, done, title
        self._task = self._bar.add_task(title, total=epochs, completed=done, note="")
        with self._bar:
            yield

    def batch_done(self, index: int, count: int) -> None:
        note = f"{self._done + 1}/{self._epochs}  {self._note}"
        self._bar.update(self._task, completed=self._done + index / count, note=note)

    def epoch_done(self, row: dict[str, float]) -> None:
        self._done = int(row["epoch"])
        shown = {key: value for key, value in row.items() if key not in ("epoch", "lr")}
        self._note = "  ".join(
            f"{value:.0f}/s" if key == "samples_per_s" else f"{key} {value:.4f}"
            for key, value in shown.items()
        )
        self._bar.update(self._task, completed=self._done, note=self._note)
        if self._lines:
            logger.info("%s epoch %d/%d  %s", self._title, self._done, self._epochs, self._note)
