"""Names of targets, known without importing a converter or PyTorch."""

from __future__ import annotations

import functools
import json
import logging
import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from ...core.messages import suggest
from ...errors import EdgearkError

if TYPE_CHECKING:
    from .base import Target

Group = Literal["cpu", "npu", "mcu"]
ALL = "all"
GROUPS = (ALL, *get_args(Group))
ENTRY_POINTS = "edgeark.targets"
_LAST = 1000
CHIPS = Path(__file__).with_name("chips.json")  # `make docs` writes it
logger = logging.getLogger(__name__)


class TargetError(EdgearkError):
    """A target name that does not exist."""


def require_targets(names: str | Sequence[str]) -> str:
    """The names with commas between them, where each is of a family or a group.

    Raises:
        TargetError: an unknown family, or none.
    """
    parts = [names] if isinstance(names, str) else names
    wanted = [name.strip().lower() for part in parts for name in part.split(",") if name.strip()]
    if not wanted:
        raise TargetError("name at least one target, for instance onnxruntime")
    for name in wanted:
        if name not in GROUPS:
            require_family(name)
    return ",".join(wanted)


def require_family(full_name: str) -> str:
    """The family of ``family[:chip]``.

    Raises:
        TargetError: there is none of that name.
    """
    name = full_name.strip().lower().partition(":")[0]
    if name not in families():
        otherwise = f"edgeark targets lists them; groups are {', '.join(GROUPS)}"
        hint = suggest(name, [*families(), *GROUPS], "") or suggest(
            full_name, every_chip(), otherwise
        )
        raise TargetError(f"unknown target {full_name!r}; {hint}")
    return name


def family_class(name: str) -> type[Target]:
    """The class of a family; its module is imported."""
    module, _, attribute = families()[name].partition(":")
    return getattr(import_module(module), attribute)


def every_chip() -> list[str]:
    """``family:chip`` of edgeark's own families, none of which is imported."""
    return json.loads(CHIPS.read_text(encoding="utf-8"))


def chips_index() -> str:
    """The content of :data:`CHIPS`, as the classes say."""
    own = import_module("..backends", __package__).__name__
    names = [name for name, cls in families().items() if cls.startswith(f"{own}.")]
    found = [f"{name}:{chip}" for name in names for chip in family_class(name).chips]
    return json.dumps(found, indent=1) + "\n"


@functools.cache
def families() -> Mapping[str, str]:
    """The module and class of each family, ``module:Class``, by name; no target is imported.

    Raises:
        TargetError: two backends claim one name.
    """
    found: dict[str, str] = {}
    for package, targets in _backends():
        for name, cls in targets.items():
            if name in found:
                raise TargetError(f"target {name} is in {found[name]} and in {package}")
            found[name] = f"{package}.target:{cls}"
    return found


def _backends() -> list[tuple[str, Mapping[str, str]]]:
    """Packages with their targets: edgeark's own backends by rank, then installed ones by name."""
    own = import_module("..backends", __package__)
    names = [f"{own.__name__}.{module.name}" for module in pkgutil.iter_modules(own.__path__)]
    ranked = [(import_module(name).RANK, name, import_module(name).TARGETS) for name in names]
    for name in sorted(entry.value for entry in entry_points(group=ENTRY_POINTS)):
        try:
            ranked.append((_LAST, name, import_module(name).TARGETS))
        except (ImportError, AttributeError) as error:
            logger.warning("the installed backend %s is left out: %s", name, error)
    return [(name, targets) for _, name, targets in sorted(ranked, key=lambda each: each[:2])]
