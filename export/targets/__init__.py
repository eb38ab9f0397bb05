"""The registry of targets: one folder of ``export/backends`` a vendor, or an installed package.

A backend is a package with a dictionary ``TARGETS`` (family name: class name) and a module
``target`` that defines these classes. A backend of somebody else's names itself as an entry point
of the group ``edgeark.targets``, whose value is the package; see CONTRIBUTING.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...core.messages import suggest
from .names import (
    ALL,
    ENTRY_POINTS,
    GROUPS,
    TargetError,
    every_chip,
    families,
    family_class,
    require_family,
    require_targets,
)

if TYPE_CHECKING:
    from .base import Target

__all__ = [
    "ENTRY_POINTS",
    "GROUPS",
    "TargetError",
    "every_target",
    "families",
    "family_of",
    "find_target",
    "find_targets",
    "list_targets",
    "require_targets",
]


def list_targets() -> list[str]:
    """Every ``family[:chip]``."""
    return [full_name for name in families() for full_name in _members(name)]


def every_target() -> list[Target]:
    """One target for each name of :func:`list_targets`."""
    return [find_target(name) for name in list_targets()]


def find_target(full_name: str) -> Target:
    """The target of ``family[:chip]``.

    Raises:
        TargetError: no such family or chip; a family with chips needs one.
    """
    name, chip = require_family(full_name), full_name.strip().lower().partition(":")[2]
    family = family_class(name)
    if chip and chip not in family.chips:
        known = f"its chips are {', '.join(family.chips)}" if family.chips else "it has no chips"
        hint = suggest(chip, every_chip(), known)
        raise TargetError(f"unknown chip {chip!r} of {name}; {hint}")
    if family.chips and not chip and not family.chip_is_optional:
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
    for part in require_targets(names).split(","):
        unique |= dict.fromkeys(_expand(part, fits))
    return [find_target(name) for name in unique]


def family_of(name: str) -> type[Target]:
    """The family of a target's name, or of its own.

    Raises:
        TargetError: no such family.
    """
    family, _, chip = name.strip().lower().partition(":")
    return type(find_target(name)) if chip or family not in families() else family_class(family)


def _expand(name: str, fits: Callable[[Target], bool] | None) -> list[str]:
    """The names of targets that a name stands for."""
    family, _, chip = name.partition(":")
    if family in families() and chip == ALL and family_class(family).chips:
        return [f"{family}:{each}" for each in family_class(family).chips]
    if name not in GROUPS:
        return [name]
    members = [find_target(_first(member)) for member in families()]
    return [
        member.full_name
        for member in members
        if name in (ALL, member.group)
        and not member.excluded_from_groups
        and (not member.opt_in or fits is None or fits(member))
    ]


def _first(family: str) -> str:
    """The family's name, with its first chip where it needs one."""
    return _members(family)[0]


def _members(name: str) -> list[str]:
    """Every target of a family."""
    family = family_class(name)
    with_chip = [f"{name}:{chip}" for chip in family.chips]
    return [name, *with_chip] if family.chip_is_optional or not with_chip else with_chip
