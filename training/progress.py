"""A progress bar on stderr: epoch, loss, metric, throughput, time left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


class Progress:
    """Shows a training on a terminal; says nothing when disabled."""

    def __init__(self, enabled: bool = True, console: Console | None = None) -> None:
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            disable=not enabled,
        )
        self._epochs, self._done, self._note = 0, 0, ""

    @contextmanager
    def training(self, epochs: int, done: int, title: str) -> Iterator[None]:
        self._epochs, self._done = epochs, done
        self._task = self._bar.add_task(title, total=epochs, completed=done, note="")
        with self._bar:
            yield

    def batch_done(self, index: int, count: int) -> None:
        note = f"epoch {self._done + 1}/{self._epochs}  {self._note}"
        self._bar.update(self._task, completed=self._done + index / count, note=note)

    def epoch_done(self, row: dict[str, float]) -> None:
        self._done = int(row["epoch"])
        shown = {key: value for key, value in row.items() if key not in ("epoch", "lr")}
        self._note = "  ".join(
            f"{key} {value:.0f}" if key == "samples_per_s" else f"{key} {value:.4f}"
            for key, value in shown.items()
        )
        self._bar.update(self._task, completed=self._done, note=self._note)
