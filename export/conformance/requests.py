"""Lists of networks: a TOML file that names each with the shape of its input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ...core.catalog import NETWORK_FILES, require_network
from ...core.files import read_text_file
from ...core.messages import describe_invalid
from ...errors import SourceError
from ..request import NetworkRequest
from ..results.schema import Record
from ..targets.base import Precision
from .records import Key

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIST_SUFFIX = ".toml"
Place = tuple[str, Precision]
"""A target's full name, and a precision."""
Form = Literal["", "onnx"]


@dataclass(frozen=True)
class NamedRequest:
    """A network, and how the user writes it: the name of its rows.

    Args:
        name: of a list's network, as the list has it; its files are looked for beside the list.
        input_shape: as it is written; '' where nothing is said.
        request: what to open.
        form: ``onnx``: the file that ``torch.onnx.export`` makes of it takes its place.
    """

    name: str
    input_shape: str
    request: NetworkRequest
    form: Form = ""

    def key(self, place: Place) -> Key:
        """Of the network's cell on a target."""
        return self.name, self.input_shape, *place


class _Listed(Record):
    name: str
    input_shape: str = ""
    form: Form = ""


class _List(Record):
    network: tuple[_Listed, ...]


def read_requests(names: Sequence[str], common: NetworkRequest) -> list[NamedRequest]:
    """The networks of names and of lists, each once.

    Args:
        names: networks, see :func:`~edgeark.export.sources.open_source`; a name that ends in
            ``.toml`` is a list of them: ``[[network]]`` tables with ``name``, ``input_shape`` and,
            for the ONNX file that PyTorch's exporter makes of it, ``form = "onnx"``.
        common: what is said of all of them; a list's own shape comes before it.

    Raises:
        SourceError: there is no such network, or the list is no list.
        ModelError: no such model of the zoo.
    """
    found: dict[tuple[str, str], NamedRequest] = {}
    for name in names:
        is_list = name.endswith(LIST_SUFFIX)
        listed = _read_list(Path(name)) if is_list else [_Listed(name=name)]
        folder = Path(name).parent if is_list else Path()
        for each in listed:
            located = _beside(folder, each.name)
            require_network(located)
            shape = each.input_shape or str(common.inputs.shapes or "")
            inputs = replace(common.inputs, shapes=shape or None)
            request = replace(common, network=located, inputs=inputs)
            title = f"{each.name} as ONNX" if each.form else each.name
            found.setdefault((title, shape), NamedRequest(title, shape, request, each.form))
    return list(found.values())


def _read_list(path: Path) -> tuple[_Listed, ...]:
    try:
        return _List.model_validate(tomllib.loads(read_text_file(path))).network
    except FileNotFoundError:
        raise SourceError(f"there is no file {path}") from None
    except ValidationError as error:
        raise SourceError(
            f"{path}: {describe_invalid(error)}; write [[network]], name = ..., input_shape = ..."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise SourceError(f"{path} is not a list of networks: {error}") from None


def _beside(folder: Path, name: str) -> str:
    """The name with its file's path, where that file lies beside the list."""
    file = name.rpartition(":")[0] if ":" in name else name
    is_file = file.endswith(".py") or Path(file).suffix.lower() in NETWORK_FILES
    return str(folder / name) if is_file and (folder / file).is_file() else name
