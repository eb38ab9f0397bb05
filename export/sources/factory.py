"""Networks that a user's code makes: ``file.py:factory`` and ``package.module:factory``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import Any

from torch import nn

from .network import SourceError


def make_network(name: str) -> nn.Module:
    """The network of ``MODULE:FACTORY``.

    Args:
        name: ``path/to/file.py:factory`` or ``package.module:factory``; the factory is a function
            or class without required arguments, or a module itself.

    Raises:
        SourceError: nothing of that name, it fails, or it makes no ``nn.Module``.
    """
    factory = load_attribute(name)
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise SourceError(f"{name} is a {type(factory).__name__}, not a network or a function")
    needed = _required_arguments(factory)
    if needed:
        raise SourceError(
            f"{name} needs {', '.join(needed)}: name a function that makes the network by itself"
        )
    try:
        model = factory()
    except (Exception, SystemExit) as error:
        raise SourceError(f"{name} fails: {_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise SourceError(f"{name} gives a {type(model).__name__}, not an nn.Module")
    return model


def load_attribute(name: str) -> Any:
    """What ``MODULE:NAME`` names.

    Raises:
        SourceError: there is no such module, or nothing of that name in it.
    """
    where, _, attribute = name.rpartition(":")
    if not where or not attribute:
        raise SourceError(f"{name}: write MODULE:FACTORY, as my_net.py:MyNet")
    module = _import(where)
    found = getattr(module, attribute, None)
    if found is None:
        raise SourceError(f"{where} has no {attribute}{_known_factories(module)}")
    return found


def _known_factories(module: Any) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and value is not nn.Module
        and value.__module__ == module.__name__
    ]  # fmt: skip
    return f"; it has {', '.join(names[:5])}" if names else ""


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
            raise SourceError(f"no file {where}")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))  # what lies beside it can be imported by it
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(path.parent))
        return module
    except SourceError:
        raise
    except (Exception, SystemExit) as error:
        raise SourceError(f"cannot import {where}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    said = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f"it ends the program, sys.exit({said}); keep that under if __name__ == '__main__'"
    return f"{type(error).__name__}: {said[:300]}"


def _required_arguments(factory: Any) -> list[str]:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # a builtin without a signature
        return []
    wanted = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return [p.name for p in parameters if p.default is p.empty and p.kind in (*wanted, keyword)]
