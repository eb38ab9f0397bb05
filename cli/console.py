"""How the command line speaks: one JSON document on stdout, or tables; the rest on stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

# A pipe has no width; 80 columns would fold every table.
out = Console(width=None if sys.stdout.isatty() else 140, emoji=False)
err = Console(stderr=True, emoji=False)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table; numbers are right-aligned."""
    table = Table(
        title=title,
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    out.print(table, "")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def log_to_stderr() -> None:
    """Send edgeark's own log to stderr, so that stdout stays machine-readable."""
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s", force=True)
    logging.getLogger("edgeark").setLevel(logging.INFO)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it sets INFO by itself


@contextmanager
def working(enabled: bool = True) -> Iterator[Any]:
    """A spinner on stderr; the yielded function changes what it says."""
    if not enabled or not err.is_terminal:
        yield lambda message: None
        return
    with err.status("") as status:
        yield lambda message: status.update(f"{message} ...")
