"""A TorchScript file is a program: what it may call is checked before PyTorch reads it.

``aten::from_file`` overwrites any file of the user's, and a ``__setstate__`` runs while the file is
loaded. So the program's text is read first: operators that only compute are known by name.
"""

from __future__ import annotations

import functools
import io
import itertools
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import EdgearkError

_MOST_CODE = 2**26  # bytes
_TOUCH_FILES = {"from_file", "save", "load", "load_library", "_save", "_load"}
KNOWN_SPACES = {"", "aten", "prim", "quantized", "torchvision"}
ALLOW = "if you trust whoever made it, say --trust"


class ProgramError(EdgearkError):
    """A program calls what a network does not need, or cannot be read before it is run."""


def check_torchscript(path: Path, *, every_operator: bool = False) -> None:
    """Read a TorchScript file's program, which is not run, and refuse what may touch files.

    Args:
        path: the file.
        every_operator: let through operators that are not known to do nothing but compute: the
            program runs in a process that can do no harm.

    Raises:
        ProgramError: no TorchScript file, or one that calls such an operator.
    """
    try:
        texts = list(_programs(path))
        names = [found for text in texts for found in _called(text)]
        own = {name for text in texts for name in _defined(text)}
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ProgramError(f"{path} is not a TorchScript file: {error}") from None
    except (tokenize.TokenError, SyntaxError, EOFError) as error:
        raise ProgramError(f"{path}: its program cannot be read: {error}") from None
    if not texts:
        raise ProgramError(f"{path} is not a TorchScript file: there is no program in it")
    for space, name in names:
        known = (not space and name in own) or (space in KNOWN_SPACES and computes(name))
        full = f"{space}::{name}" if space else name
        if name in _TOUCH_FILES:
            raise ProgramError(f"{path} calls {full}, which reads or writes files: {ALLOW}")
        if not known and not every_operator:
            raise ProgramError(f"{path} calls {full}, which may do more than compute: {ALLOW}")


def computes(name: str) -> bool:
    """Whether an operator of that name, or in-place form, is known to do nothing but compute."""
    known = _known_operators()
    return name in known or (name.endswith("_") and name[:-1] in known)


@functools.cache
def _known_operators() -> frozenset[str]:
    """Those of networks: of tensors, of sizes and of lists."""
    return frozenset(Path(__file__).with_name("compute_operators.txt").read_text().split())


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive of PyTorch's, if every reader of archives reads it alike.

    Raises:
        ValueError: it is none, or an ambiguous one.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError("it is no archive of PyTorch's")
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        names = [entry.filename.lower() for entry in entries]
        if len(set(names)) < len(names) or min(e.header_offset for e in entries) != 0:
            raise ValueError("its archive can be read in two ways")
        yield archive


def _programs(path: Path) -> Iterator[str]:
    """The text of each file of code."""
    with open_archive(path) as archive:
        code = [entry for entry in archive.infolist() if entry.filename.endswith(".py")]
        if sum(entry.file_size for entry in code) > _MOST_CODE:
            raise ValueError(f"more than {_MOST_CODE // 2**20} MiB of program")
        for entry in code:
            yield archive.read(entry).decode("utf-8")


def _tokens(text: str) -> list[str]:
    """Without comments, ends of lines and strings."""
    left_out = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return [
        '""' if token.type == tokenize.STRING else token.string
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in left_out
    ]


def _called(text: str) -> Iterator[tuple[str, str]]:
    """Namespace and name of ``torch.NAME``, ``ops.SPACE.NAME`` and ``value.NAME(``."""
    tokens = [*_tokens(text), "", "", ""]
    for index, token in enumerate(tokens[:-3]):
        if token != "." or not tokens[index + 1].isidentifier():
            continue
        name, before = tokens[index + 1], tokens[index - 1]
        is_root = index < 2 or tokens[index - 2] != "."
        if before == "torch" and is_root:
            yield "aten", name
        elif index >= 3 and tokens[index - 3] == "ops" and tokens[index - 2] == ".":
            yield before, name
        elif tokens[index + 2] == "(" and not (before == "ops" and is_root):
            yield "", name


def _defined(text: str) -> Iterator[str]:
    tokens = _tokens(text)
    for keyword, name in itertools.pairwise(tokens):
        if keyword in ("def", "class"):
            yield name
