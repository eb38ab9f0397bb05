"""What is wrong, or probably wrong, with a data set."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...errors import DataError

Severity = Literal["error", "warning", "info"]
_NAMED = 5  # items that a message names

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finding:
    """One observation. An error is certain and stops a training; a warning is probable.

    ``items`` are the files or annotations concerned, ``count`` of them in all.
    """

    severity: Severity
    code: str
    message: str
    items: tuple[str, ...] = ()
    count: int = 0

    @classmethod
    def of(cls, severity: Severity, code: str, message: str, items: Sequence[str] = ()) -> Finding:
        return cls(severity, code, message, tuple(items[:_NAMED]), len(items))

    def describe(self) -> str:
        """The message, and the first of the items."""
        return self.message + (f": {name_some(self.items, self.count)}" if self.items else "")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def name_some(items: Sequence[str], count: int | None = None) -> str:
    """The first few of ``items``, comma-separated, and dots for the rest."""
    total = len(items) if count is None else count
    return ", ".join(items[:_NAMED]) + (" ..." if total > _NAMED else "")


def raise_errors(name: str, findings: Sequence[Finding]) -> None:
    """Raise the first error among ``findings``, if there is one.

    Raises:
        DataError: there is.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more: edgeark data shows them)" if len(errors) > 1 else ""
        raise DataError(f"{name}: {errors[0].describe()}{more}")


def log_findings(name: str, findings: Sequence[Finding]) -> None:
    """Warnings as warnings, notes as information."""
    for finding in findings:
        log = logger.info if finding.severity == "info" else logger.warning
        log("%s: %s", name, finding.describe())
