"""What was predicted of a network on a target, and what happened: a file of such cells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from ...core.catalog import WEIGHTS_DIR
from ..results.measured_file import place_of, read_measured, write_measured
from ..results.schema import EvidenceText, Record
from ..targets.base import Precision

RESULTS = WEIGHTS_DIR / "conformance.toml"

Predicted = Literal["fits", "falls back", "error"]
Real = Literal["ok", "failed", "error", "inconclusive", "stopped", "refused", "unavailable"]
Key = tuple[str, str, str, str]


class Prediction(Record):
    """What ``edgeark check`` says of one network on one target.

    Args:
        predicted: ``error``: some rule finds one; ``falls back``: none does, and a warning says
            that another processor takes an operator.
        error_rules: names of the rules that find an error.
        fallback_rules: names of the rules that warn of another processor.
    """

    predicted: Predicted
    error_rules: tuple[str, ...] = ()
    fallback_rules: tuple[str, ...] = ()


class Cell(Prediction):
    """One network on one target at one precision: what was predicted, and what happened.

    Args:
        network: as the user names it.
        input_shape: as the user gives it; '' where the network says it itself.
        real: ``ok``; ``failed`` (it runs, but its answers are others than PyTorch's, or the chip
            would refuse it); ``error`` (the toolchain failed or died); ``inconclusive`` (the
            network's own answers hardly depend on its input); ``stopped`` (no end within the time
            limit, or killed from outside); ``refused`` (nothing was converted: edgeark has no way
            to give the target such inputs, or PyTorch cannot trace the network); ``unavailable``
            (the toolchain cannot be had).
        evidence: what proves it.
        sqnr_db: of its answers against PyTorch's.
        cpu_ops: kinds of operators that the accelerator leaves to a CPU, each once; None: the
            target does not say where its operators run.
        cause: why it is not ``ok``, in one line.
        versions: of the converter and the runtime.
    """

    network: str
    input_shape: str = ""
    target: str
    precision: Precision
    real: Real
    evidence: EvidenceText | None = None
    sqnr_db: float | None = None
    cpu_ops: tuple[str, ...] | None = None
    cause: str = ""
    versions: dict[str, str]

    @property
    def key(self) -> Key:
        return self.network, self.input_shape, self.target, self.precision


def read_cells(path: Path = RESULTS) -> list[Cell]:
    """What was measured; nothing where there is no such file.

    Raises:
        EdgearkError: it is not a file of such results.
    """
    return read_measured(path, "cell", Cell)


def write_cells(cells: Iterable[Cell], path: Path) -> None:
    """By network, then as the targets are listed, floats first."""

    def order(cell: Cell) -> tuple[object, ...]:
        return cell.network, cell.input_shape, *place_of(cell)

    documents = map(_fields, sorted(cells, key=order))
    write_measured(path, "cell", documents, "edgeark conformance")


def _fields(cell: Cell) -> dict[str, object]:
    """Its key first; nothing where nothing is known."""
    fields = cell.model_dump(mode="json", exclude_none=True)
    first = {name: fields.pop(name) for name in ("network", "input_shape", "target", "precision")}
    if cell.sqnr_db is not None:
        fields["sqnr_db"] = round(cell.sqnr_db, 1)
    return first | fields
