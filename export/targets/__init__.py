"""The registry of targets: one folder of ``export/backends`` a vendor, or an installed package.

A backend is a package with a dictionary ``TARGETS`` (family name: class name) and a module
``target`` that defines these classes. A backend of somebody else's names itself as an entry point
of the group ``edgeark.targets``, whose value is the package; see CONTRIBUTING.md.
"""

from __future__ import annotations

import difflib
import functools
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import get_args

from ...errors import EdgearkError
from .base import Group, Target

_ALL = "all"
ENTRY_POINTS = "edgeark.targets"
GROUPS = (_ALL, *get_args(Group))


class TargetError(EdgearkError):
    """A target name that does not exist."""


def list_targets() -> list[str]:
    """Every ``family[:chip]``."""
    return [
        f"{name}:{chip}" if chip else name
        for name in _families()
        for chip in _family(name).chips or (None,)
    ]


def every_target() -> list[Target]:
    """One target for each name of :func:`list_targets`."""
    return [find_target(name) for name in list_targets()]


def find_target(full_name: str) -> Target:
    """The target of ``family[:chip]``.

    Raises:
        TargetError: no such family or chip; a family with chips needs one.
    """
    name, _, chip = full_name.strip().lower().partition(":")
    if name not in _families():
        near = difflib.get_close_matches(name, _families(), n=1)
        every = ", ".join([*_families(), *GROUPS])
        hint = f"did you mean {near[0]}?" if near else f"there are {every}"
        raise TargetError(f"unknown target {full_name!r}; {hint}")
    family = _family(name)
    if chip and chip not in family.chips:
        known = f"its chips are {', '.join(family.chips)}" if family.chips else "it has no chips"
        raise TargetError(f"unknown chip {chip!r} of {name}; {known}")
    if family.chips and not chip:
        raise TargetError(f"{name} needs a chip: {', '.join(f'{name}:{c}' for c in family.chips)}")
    return family(chip or None)


def find_targets(names: str, fits: Callable[[Target], bool] | None = None) -> list[Target]:
    """The targets of a comma-separated list, in its order, each once.

    Args:
        names: of targets; ``cpu``, ``npu`` and ``mcu`` are groups, ``all`` is all of these, a chip
            of each family. ``rknn:all`` is every chip of a family.
        fits: whether a target can take the network. Groups ask it of the families that fit few
            networks (``opt_in``) and leave out those that cannot. None leaves out none.

    Raises:
        TargetError: an unknown name, or none.
    """
    unique: dict[str, None] = {}
    for part in (part.strip().lower() for part in names.split(",") if part.strip()):
        unique |= dict.fromkeys(_expand(part, fits))
    if not unique:
        raise TargetError("name at least one target, for instance onnxruntime")
    return [find_target(name) for name in unique]


def family_of(name: str) -> type[Target]:
    """The family of a target's name, or of its own.

    Raises:
        TargetError: no such family.
    """
    family, _, chip = name.strip().lower().partition(":")
    return type(find_target(name)) if chip or family not in _families() else _family(family)


def _expand(name: str, fits: Callable[[Target], bool] | None) -> list[str]:
    """The names of targets that a name stands for."""
    family, _, chip = name.partition(":")
    if family in _families() and chip == _ALL and _family(family).chips:
        return [f"{family}:{each}" for each in _family(family).chips]
    if name not in GROUPS:
        return [name]
    members = [find_target(_first(member)) for member in _families()]
    return [
        member.full_name
        for member in members
        if name in (_ALL, member.group)
        and not member.excluded_from_groups
        and (not member.opt_in or fits is None or fits(member))
    ]


def _first(family: str) -> str:
    """The family's name with its first chip, where it has chips."""
    chips = _family(family).chips
    return f"{family}:{chips[0]}" if chips else family


@functools.cache
def _families() -> Mapping[str, str]:
    """The module and class of each family, ``module:Class``, by name; no target is imported.

    Raises:
        TargetError: two backends claim one name, or an installed one has no ``TARGETS``.
    """
    found: dict[str, str] = {}
    for package in _backends():
        try:
            targets = import_module(package).TARGETS
        except (ImportError, AttributeError) as error:
            raise TargetError(f"backend {package}: {error}; uninstall it or fix it") from error
        for name, cls in targets.items():
            if name in found:
                raise TargetError(f"target {name} is in {found[name]} and in {package}")
            found[name] = f"{package}.target:{cls}"
    return found


def _backends() -> list[str]:
    """The packages of edgeark's own backends, then of installed ones."""
    own = import_module("..backends", __name__)
    names = [f"{own.__name__}.{module.name}" for module in pkgutil.iter_modules(own.__path__)]
    return names + sorted(entry.value for entry in entry_points(group=ENTRY_POINTS))


def _family(name: str) -> type[Target]:
    module, _, attribute = _families()[name].partition(":")
    return getattr(import_module(module), attribute)
