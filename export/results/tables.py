"""Lists of results that print as a table, and show as one in a notebook."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH = 110


class _Row(Protocol):
    def to_dict(self) -> dict[str, Any]: ...


RowT = TypeVar("RowT", bound=_Row)


class ResultList(list[RowT], Generic[RowT]):
    """A list of rows; ``str`` gives a table of the columns that matter most.

    Args:
        rows: of one kind, each with ``to_dict``.
        columns: heading by field name, in order.
    """

    def __init__(self, rows: Iterable[RowT], columns: Mapping[str, str]) -> None:
        super().__init__(rows)
        self.columns = dict(columns)

    def __str__(self) -> str:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for heading in self.columns.values():
            table.add_column(heading, overflow="fold")
        for cells in self._cells():
            table.add_row(*cells)
        console = Console(width=_WIDTH, emoji=False, markup=False, highlight=False)
        with console.capture() as captured:
            console.print(table)
        return captured.get().rstrip("\n")

    def _repr_html_(self) -> str:
        """For Jupyter."""
        head = "".join(f"<th>{html.escape(h)}</th>" for h in self.columns.values())
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
            for cells in self._cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _cells(self) -> Sequence[list[str]]:
        rows = [row.to_dict() for row in self]
        return [[_text(row.get(name)) for name in self.columns] for row in rows]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict) and {"float", "value"} <= set(value):
        return f"{100 * value['float']:.2f} > {100 * value['value']:.2f} %"
    return str(value)
