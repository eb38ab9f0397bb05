"""Measured results in a TOML file: tables of one name, read by their schema, written as a whole."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, TypeVar, get_args

import tomli_w
from pydantic import ValidationError, create_model

from ...core.files import read_text_file
from ...core.messages import describe_invalid
from ...errors import EdgearkError
from ...training.checkpoint import atomic_path
from ..targets import list_targets
from ..targets.base import Precision
from .schema import Record

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

R = TypeVar("R", bound=Record)


def read_measured(path: Path, table: str, kind: type[R]) -> list[R]:
    """The records of the tables ``[[table]]``; none where there is no such file.

    Raises:
        EdgearkError: it is not a file of such records.
    """
    fields: dict[str, Any] = {table: (tuple[kind, ...], ())}
    content = create_model("content", __base__=Record, **fields)
    try:
        return list(getattr(content.model_validate(tomllib.loads(read_text_file(path))), table))
    except FileNotFoundError:
        return []
    except ValidationError as error:
        raise EdgearkError(f"{path}: {describe_invalid(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise EdgearkError(f"{path} is not a file of results: {error}") from None


def write_measured(
    path: Path, table: str, documents: Iterable[dict[str, Any]], command: str
) -> None:
    """Write tables ``[[table]]`` of plain values; ``command`` is what wrote them."""
    text = tomli_w.dumps({table: list(documents)})
    with atomic_path(path) as partial:
        partial.write_text(f"# Written by `{command}`\n\n{text}", encoding="utf-8")


class OnTarget(Protocol):
    """What is of a target, in a precision."""

    @property
    def target(self) -> str: ...
    @property
    def precision(self) -> Precision: ...


def place_of(row: OnTarget) -> tuple[int, int]:
    """Where it stands in a list: as the targets are listed, floats first."""
    targets, precisions = list_targets(), get_args(Precision)
    known = targets.index(row.target) if row.target in targets else len(targets)
    return known, precisions.index(row.precision)
