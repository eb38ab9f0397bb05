"""The spec in the header of a weights file, which anybody may have written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..core.messages import describe_invalid
from .spec import Color

_Side = Annotated[int, Field(gt=0, le=2**14)]
_Scale = Annotated[float, Field(gt=0, le=2**14)]


class _StoredSpec(BaseModel):
    """The fields that a file may replace in its family's spec."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    input_size: tuple[_Side, _Side] = (1, 1)
    color: Color = "rgb"
    mean: Annotated[tuple[float, ...], Field(max_length=64)] = ()
    std: Annotated[tuple[_Scale, ...], Field(max_length=64)] = ()
    classes: Annotated[tuple[str, ...], Field(max_length=100_000)] = ()
    dataset: str = ""
    strides: Annotated[tuple[_Side, ...], Field(max_length=16)] = ()
    anchors: Annotated[tuple[tuple[tuple[_Scale, _Scale], ...], ...], Field(max_length=16)] = ()
    arguments: dict[str, bool | int | float | str | tuple[int | float | str, ...] | None] = {}


def check_stored(fields: Any) -> dict[str, Any]:
    """The fields, if they can be those of a network.

    Raises:
        ValueError: the first that cannot, by its name.
    """
    try:
        return _StoredSpec.model_validate(fields).model_dump(exclude_unset=True)
    except ValidationError as error:
        raise ValueError(describe_invalid(error)) from None
