"""The network that ``edgeark check`` looks at: one of the zoo, or the user's own code."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import EdgearkError, ModelError
from ..zoo.registry import create_model
from ..zoo.spec import spec_of
from .graph.network import LintError, Network, capture_network
from .lint.rule import Finding, check
from .targets.base import Target

_TRACE_RULE = "static-graph"


class FactoryError(EdgearkError):
    """What was named is not a network, or cannot be made into one."""


def check_model(
    model: nn.Module, input_shape: Sequence[int], targets: Sequence[Target]
) -> list[Finding]:
    """The findings of every target's rules; a network without a static graph is a finding too.

    Args:
        model: looked at in evaluation mode; nothing is trained or changed.
        input_shape: ``[1, C, H, W]``.
        targets: in whose name to look.
    """
    try:
        network = capture_network(model, input_shape)
    except LintError as error:
        fix = "let shapes and branches depend on nothing that is computed from the image"
        return [
            Finding(t.full_name, _TRACE_RULE, "error", "", error.source, str(error), fix)
            for t in targets
        ]
    return [finding for t in targets for finding in check(network, t.rules(), t.full_name)]


def fits(model: nn.Module, input_shape: Sequence[int]) -> Callable[[Target], bool]:
    """Whether a target can take the network: its rules find no error there.

    The network is captured once, when the first target is asked about.
    """

    @functools.cache
    def network() -> Network:
        return capture_network(model, input_shape)

    def fits_target(target: Target) -> bool:
        try:
            findings = check(network(), target.rules(), target.full_name)
        except LintError:
            return False
        return all(finding.severity != "error" for finding in findings)

    return fits_target


def fits_zoo_model(name: str) -> Callable[[Target], bool]:
    """:func:`fits` of a model of the zoo; shapes alone decide, so no weights are made."""
    with torch.device("meta"):
        model = create_model(name)
    return fits(model, spec_of(model).input_shape)


def load_subject(name: str, size: str | None = None) -> tuple[nn.Module, tuple[int, ...]]:
    """The network that ``name`` means, and the shape of its input.

    Args:
        name: a model of the zoo, ``package.module:factory`` or ``path/to/file.py:factory``, where
            the factory is a function or class without required arguments, or a module itself.
        size: ``CxHxW``; a network of the zoo knows it by itself.

    Raises:
        FactoryError: nothing of that name, it fails, or it makes no ``nn.Module``.
        ModelError: no such model of the zoo.
    """
    shape = _parse_size(size)
    if ":" not in name:
        options = {} if shape is None else {"in_channels": shape[1], "input_size": shape[2:]}
        model = create_model(name, **options)
        return model, spec_of(model).input_shape
    model = _call(name)
    if shape is not None:
        return model, shape
    try:
        return model, spec_of(model).input_shape
    except ModelError:
        raise FactoryError(
            f"{name}: say the size of its input, as --input-shape 3x224x224"
        ) from None


def _parse_size(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    if not re.fullmatch(r"(1x)?[1-9]\d*(x[1-9]\d*){2}", text):
        raise FactoryError(f"--input-shape {text}: write channels, height and width, as 3x224x224")
    return (1, *(int(part) for part in text.split("x")[-3:]))


def _call(name: str) -> nn.Module:
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise FactoryError(f"{name}: write MODULE:FACTORY, as my_net.py:MyNet")
    module = _import(where)
    factory = getattr(module, attribute, None)
    if factory is None:
        raise FactoryError(f"{where} has no {attribute}")
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise FactoryError(f"{name} is a {type(factory).__name__}, not a network or a function")
    needed = _required_arguments(factory)
    if needed:
        raise FactoryError(
            f"{name} needs {', '.join(needed)}: name a function that makes the network by itself"
        )
    try:
        model = factory()
    except Exception as error:
        raise FactoryError(f"{name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise FactoryError(f"{name} gives a {type(model).__name__}, not an nn.Module")
    return model


def _import(where: str) -> Any:
    """A file by its path, or a module by its name; the working directory comes first."""
    try:
        if not where.endswith(".py"):
            sys.path.insert(0, str(Path.cwd()))
            try:
                return importlib.import_module(where)
            finally:
                sys.path.remove(str(Path.cwd()))
        path = Path(where).resolve()
        if not path.is_file():
            raise FactoryError(f"no file {where}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))  # what lies beside it can be imported by it
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent))
        return module
    except FactoryError:
        raise
    except Exception as error:
        raise FactoryError(f"cannot import {where}: {type(error).__name__}: {error}") from error


def _required_arguments(factory: Any) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # a builtin without a signature
        return []
    wanted = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [p.name for p in parameters if p.default is p.empty and p.kind in (*wanted, keyword)]
