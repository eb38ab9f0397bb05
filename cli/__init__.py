"""The command line. A command parses, calls one function, prints.

Exit status: 0 done, 1 a check failed, 2 bad usage or bad input (one line; ``--debug`` shows more).
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Annotated, NoReturn

import typer

from .. import __version__
from ..core.crash_log import DEBUG_VARIABLE, describe_fault
from ..errors import EdgearkError
from . import (
    bundle,
    check,
    conformance,
    data,
    doctor,
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
    "report": exports.report,
    "bundle": bundle.bundle,
    "check": check.check,
    "rewrite": rewrite.rewrite,
    "layers": layers.layers,
    "matrix": matrix.matrix,
    "conformance": conformance.conformance,
    "demo": exports.demo,
    "doctor": doctor.doctor,
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
    os.environ[DEBUG_VARIABLE] = str(int(debug))
    log_to_stderr()
    end = _End()
    try:
        with end.watched():
            app([argument for argument in given if argument != "--debug"])
    except KeyboardInterrupt:
        _abort(end)
    except SystemExit:
        if end.signal:
            _abort(end)
        raise
    except (EdgearkError, OSError) as error:
        if debug:
            raise
        if end.signal:  # libraries turn it into errors of their own
            _abort(end)
        _fail(_explain(error))
    except Exception as error:
        if debug:
            raise
        if end.signal:
            _abort(end)
        _fail(describe_fault(error))


class _End:
    """Whether the user has asked for the end: by Ctrl-C, or as a service manager does."""

    signal = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """SIGINT and SIGTERM alike end what is under way, which cleans up behind itself."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.signal = number
            raise KeyboardInterrupt

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)


def _explain(error: EdgearkError | OSError) -> str:
    message = " ".join(str(error).split())
    if getattr(error, "errno", None) == errno.ENOSPC:
        has_file = isinstance(error, OSError) and error.filename is not None
        where = "write elsewhere with --out" if has_file else "send the output elsewhere"
        message += f": make room, or {where}"
    return message


def _abort(end: _End) -> NoReturn:
    err.print("Aborted.")
    sys.exit(128 + (end.signal or signal.SIGINT))


def _fail(message: str) -> NoReturn:
    """One line on stderr, status 2."""
    with suppress(OSError):  # stderr may be full as well
        err.print(f"error: {message}", highlight=False, soft_wrap=True, markup=False)
    sys.exit(2)
