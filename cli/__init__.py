"""The command line. A command parses, calls one function, prints.

Exit status: 0 done, 1 a check failed, 2 bad usage or bad input (one line; ``--debug`` shows more).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..errors import EdgearkError
from . import (
    bundle,
    check,
    data,
    exports,
    layers,
    matrix,
    rewrite,
    running,
    targets,
    training,
    zoo,
)
from .console import err, log_to_stderr, out

app = typer.Typer(
    name="edgeark",
    help="A PyTorch model zoo whose models are proven to run on the chip.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _command in {
    "models": zoo.models,
    "info": zoo.info,
    "data": data.data,
    "recipes": training.recipes,
    "train": training.train,
    "new": training.new,
    "eval": exports.evaluate,
    "export": exports.export,
    "import": zoo.import_,
    "run": running.run,
    "verify": running.verify,
    "bundle": bundle.bundle,
    "check": check.check,
    "rewrite": rewrite.rewrite,
    "layers": layers.layers,
    "matrix": matrix.matrix,
    "demo": exports.demo,
}.items():
    app.command(name=_name)(_command)
app.add_typer(targets.app, name="targets")


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every mistake of the user's ends in one line and status 2.

    Args:
        arguments: by default those of the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    log_to_stderr()
    try:
        app([argument for argument in given if argument != "--debug"])
    except (EdgearkError, OSError) as error:
        if debug:
            raise
        message = " ".join(str(error).split())
        if getattr(error, "errno", None) == errno.ENOSPC:
            message += ": make room, or write elsewhere with --out"
        _fail(message)
    except Exception as error:
        if debug:
            raise
        message = " ".join(f"{type(error).__name__}: {error}".split())
        _fail(f"{message}: a fault of edgeark's; please report it with what --debug prints")


def _fail(message: str) -> NoReturn:
    """One line on stderr, status 2."""
    err.print(f"error: {message}", highlight=False, soft_wrap=True, markup=False)
    sys.exit(2)
