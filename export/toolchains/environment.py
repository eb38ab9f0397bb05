"""A toolchain's Python environment: made on first use by uv, kept in the user's cache.

The environment's folder carries a digest of its requirements and its Python version, so a changed
requirement makes a new environment. A lock lets two exports start together; a mark written last
tells a complete environment from one whose installation was cut off.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from filelock import FileLock

from ...core.settings import cache_folder, is_offline
from ...errors import EdgearkError

logger = logging.getLogger(__name__)

_MARK = "edgeark-toolchain.json"
_INSTALL_TIMEOUT_S = 1800
_NO_WHEEL = r"no wheels? with a matching|no wheels? for the current platform"  # uv's words


class ToolchainError(EdgearkError):
    """A toolchain failed. ``stage`` says when, ``log`` is the file with its own words."""

    def __init__(self, message: str, *, stage: str = "", log: Path | None = None) -> None:
        super().__init__(message)
        self.stage, self.log = stage, log


class ToolchainUnavailable(ToolchainError):
    """The toolchain cannot be had on this machine: no Python for it, or no network to fetch it."""


@dataclass(frozen=True)
class Hint:
    """What to do about an error: ``pattern`` is searched in all that the worker said.

    The pattern is a regular expression, or a plain string of the toolchain's.
    """

    pattern: str
    fix: str  # one line


@dataclass(frozen=True)
class Toolchain:
    """A vendor's converter and runtime.

    ``python`` is a version range in uv's words; ``download_mb`` is what a first installation
    fetches when nothing is cached (measured on x86-64 Linux, CPython 3.11). Of ``hints``, the first
    that fits an error is added to it. ``home`` is the backend's folder, which holds ``worker.py``
    and the compiled requirements: one file a release of the same packages. ``setup_file`` is a
    script of ``home`` that the environment's Python runs once all is installed: it mends what the
    packages lack, sees that they work, and says in its last line why not. ``preloads``: importing
    what the worker needs takes seconds, and its ``preload(function, arguments)`` imports what a
    function will need, once for many calls.
    """

    name: str
    packages: tuple[str, ...]  # whose versions are reported
    home: Path
    python: str
    download_mb: int
    hints: tuple[Hint, ...] = ()
    requirements_file: str = "requirements.txt"
    setup_file: str = ""
    preloads: bool = False

    @property
    def worker(self) -> Path:
        return self.home / "worker.py"

    @property
    def requirements(self) -> Path:
        return self.home / self.requirements_file

    def folder(self) -> Path:
        """Where the environment is, or will be."""
        content = self.requirements.read_bytes() + self.python.encode()
        if self.setup_file:
            content += (self.home / self.setup_file).read_bytes()
        return (
            cache_folder()
            / "toolchains"
            / f"{self.name}-{hashlib.sha256(content).hexdigest()[:12]}"
        )

    def is_installed(self) -> bool:
        return (self.folder() / _MARK).exists()

    def interpreter(self) -> Path:
        """The Python that runs the worker, once all is installed."""
        return _python_of(self.folder())

    def lacks(self) -> str:
        """What this machine has not, and an installation needs; empty: nothing."""
        return "" if find_python(self.python) else f"Python {self.python} is fetched too"

    def python_version(self) -> tuple[int, int]:
        """Of the environment, which is made first where it is missing."""
        self.ensure()
        words = (self.folder() / "pyvenv.cfg").read_text()
        found = re.search(r"^version_info = (\d+)\.(\d+)", words, re.MULTILINE)
        assert found is not None, "uv writes it"
        return int(found[1]), int(found[2])

    def pinned_versions(self) -> dict[str, str]:
        """The versions that ``requirements.txt`` names, known without an installation."""
        pins: dict[str, str] = {}
        for line in self.pins(self.packages):
            name, _, rest = line.partition("==")
            pins.setdefault(name, rest.split()[0])
        return pins

    def pins(self, packages: Collection[str]) -> list[str]:
        """The lines of ``requirements.txt`` for some packages, with their markers."""
        lines = self.requirements.read_text().splitlines()
        return [line.rstrip(" \\") for line in lines if line.partition("==")[0] in packages]

    def declared_packages(self) -> list[str]:
        """The packages that ``requirements.in`` names, as ``requirements.txt`` spells them."""
        lines = self.requirements.with_suffix(".in").read_text().splitlines()
        names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines]
        return [name[0].lower() for name in names if name]

    def ensure(self) -> Path:
        """The path of the environment's Python; installs it first where it is missing.

        Raises:
            ToolchainUnavailable: offline and not installed, or no fitting Python to be had.
            ToolchainError: the installation failed.
        """
        folder, python = self.folder(), self.interpreter()
        if self.is_installed():
            return python
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if self.is_installed():  # another process was faster
                return python
            if is_offline():
                raise ToolchainUnavailable(
                    f"{self.name} is not installed and --offline forbids fetching it",
                    stage="install",
                )
            self._install(folder)
        return python

    def _install(self, folder: Path) -> None:
        with self.new_folder(folder) as (log, output):
            base = find_python(self.python)
            logger.info(
                "installing %s (about %d MB to fetch)%s",
                self.name,
                self.download_mb,
                "" if base else f", after a Python {self.python}, since none is here",
            )
            install = ["pip", "install", "--python", str(_python_of(folder))]
            install += ["--no-deps", "--require-hashes", "-r", str(self.requirements)]
            made = _run_uv(
                ["venv", "--no-project", "--python", base or self.python, folder], output
            )
            if not made and base is None:
                raise ToolchainUnavailable(
                    f"{self.name} needs Python {self.python}; none is here and none could be "
                    "fetched: install one and try again",
                    stage="install",
                    log=log,
                )
            if not made or not _run_uv(install, output):
                raise self._install_error(log)
            if self.setup_file:
                setup = [str(_python_of(folder)), "-I", str(self.home / self.setup_file)]
                if not run_installer(setup, output, clean_environment()):
                    raise self._install_error(log)

    @contextmanager
    def new_folder(self, folder: Path) -> Iterator[tuple[Path, TextIO]]:
        """The log of an installation and the file to write it to.

        At the end the folder is marked as complete; after an error it is gone.
        """
        log = log_folder() / f"install-{self.name}.log"
        shutil.rmtree(folder, ignore_errors=True)
        with _removed_on_error(folder), log.open("w") as output:
            yield log, output
            (folder / _MARK).write_text(json.dumps(self.pinned_versions()))

    def _install_error(self, log: Path) -> ToolchainError:
        words = log.read_text(errors="replace")
        if re.search(_NO_WHEEL, words):
            machine = f"{platform.system()} {platform.machine()}"
            reason = f"{self.name} is not made for this machine ({machine}); log: {log}"
            return ToolchainUnavailable(reason, stage="install", log=log)
        reason = f"installing {self.name} failed: {last_line(words)}; log: {log}"
        return ToolchainError(reason, stage="install", log=log)


def log_folder() -> Path:
    """Where logs go that belong to no exported folder."""
    folder = cache_folder() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except OSError:
        pass
    return _temporary_logs()


@functools.cache
def _temporary_logs() -> Path:
    """Where the cache cannot be written to: nothing else needs it."""
    return Path(tempfile.mkdtemp(prefix="edgeark_logs_"))


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead another Python to our packages."""
    drop = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
    return {key: value for key, value in os.environ.items() if key not in drop}


@functools.cache
def find_python(version_range: str) -> str | None:
    """A Python in ``version_range``: this one if it fits, else any that uv or pyenv knows of."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for candidate in (sys.executable, version_range):
        if candidate == sys.executable and not _in_range(here, version_range):
            continue
        found = subprocess.run(
            [
                _uv(),
                "python",
                "find",
                "--no-project",
                "--system",
                "--no-python-downloads",
                candidate,
            ],
            capture_output=True,
            text=True,
            env=_uv_environment(),
            check=False,
        )
        if found.returncode == 0:
            return found.stdout.strip()
    return None


def _in_range(version: str, version_range: str) -> bool:
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(version_range).contains(version)


def dying_with_us(command: Sequence[str]) -> list[str]:
    """The command, such that Linux kills it when this process is gone, however it went."""
    starter = Path(__file__).with_name("die_with_parent.py")
    return [sys.executable, "-I", "-S", str(starter), *command]


def _uv() -> str:
    from uv import find_uv_bin

    return os.fsdecode(find_uv_bin())


@functools.cache
def _pyenv_versions() -> tuple[str, ...]:
    """The versions under pyenv, whose shims hide all but the chosen ones from uv."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return ()
    listed = subprocess.run(
        [pyenv, "versions", "--bare"], capture_output=True, text=True, check=False
    )
    return tuple(line.strip() for line in listed.stdout.splitlines() if line.strip())


def _uv_environment() -> dict[str, str]:
    environment = clean_environment()
    if versions := _pyenv_versions():
        environment["PYENV_VERSION"] = ":".join(versions)
    return environment


def _run_uv(arguments: Sequence[str | Path], output: TextIO) -> bool:
    """Whether uv succeeded; what it says goes to ``output``."""
    return run_installer([_uv(), *map(str, arguments)], output, _uv_environment())


def run_installer(
    command: Sequence[str], output: TextIO, environment: Mapping[str, str], cwd: Path | None = None
) -> bool:
    """Whether a program that installs something succeeded; what it says goes to ``output``."""
    try:
        done = subprocess.run(
            dying_with_us(command),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            timeout=_INSTALL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        output.write(f"\ngave up after {_INSTALL_TIMEOUT_S} s\n")
        output.flush()
        return False
    return done.returncode == 0


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _python_of(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
