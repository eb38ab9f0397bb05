"""A toolchain of npm packages: Node.js runs them, called by a worker under edgeark's own Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import (
    Toolchain,
    ToolchainError,
    ToolchainUnavailable,
    clean_environment,
    last_line,
    run_installer,
)

_OLDEST = 18  # of Node.js that is still seen on boards and in distributions
_FILES = ("package.json", "package-lock.json")


@dataclass(frozen=True)
class NodeToolchain(Toolchain):
    """Packages that ``package-lock.json`` pins with their hashes, installed by ``npm ci``.

    Their own install scripts do not run. Node.js and npm are the user's.
    """

    requirements_file: str = "package-lock.json"

    def interpreter(self) -> Path:
        return Path(sys.executable)

    def modules(self) -> Path:
        """The folder of the packages."""
        return self.folder() / "node_modules"

    def lacks(self) -> str:
        """What is wrong with this machine's Node.js; empty: nothing."""
        missing = [name for name in ("node", "npm") if shutil.which(name) is None]
        if missing:
            return f"{' and '.join(missing)} not found: install Node.js {_OLDEST} or later with npm"
        version = _node_version()
        if version < _OLDEST:
            return f"Node.js {version} is too old: install {_OLDEST} or later"
        return ""

    def pinned_versions(self) -> dict[str, str]:
        locked = self._locked()
        return {name: locked[name]["version"] for name in self.packages}

    def ensure(self) -> Path:
        if lacks := self.lacks():
            raise ToolchainUnavailable(f"{self.name}: {lacks}", stage="install")
        return super().ensure()

    def _install(self, folder: Path) -> None:
        with self.new_folder(folder) as (log, output):
            folder.mkdir()
            for name in _FILES:
                shutil.copyfile(self.home / name, folder / name)
            command = [_find("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            if not run_installer(command, output, _environment(), cwd=folder):
                words = log.read_text(errors="replace")
                raise ToolchainError(
                    f"installing {self.name} failed: {_reason(words)}; log: {log}",
                    stage="install",
                    log=log,
                )

    def _locked(self) -> dict[str, dict[str, Any]]:
        """The entries of the lock file by package."""
        packages = json.loads(self.requirements.read_text(encoding="utf-8"))["packages"]
        return {path.rpartition("node_modules/")[2]: each for path, each in packages.items()}


def _find(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, "lacks() has looked"
    return path


def _node_version() -> int:
    """The first number of the version; 0 where the program does not say one."""
    try:
        done = subprocess.run(
            [_find("node"), "--version"], capture_output=True, text=True, timeout=60, check=True
        )
        return int(done.stdout.strip().lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def _environment() -> dict[str, str]:
    return {**clean_environment(), "NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1", "CI": "1"}


def _reason(words: str) -> str:
    """npm's first error line that tells more than a code; its last ones name its own log."""
    marked = [line for line in words.splitlines() if line.startswith(("npm error ", "npm ERR! "))]
    lines = [line.removeprefix("npm error ").removeprefix("npm ERR! ") for line in marked]
    return next((line for line in lines if not line.startswith("code ")), last_line(words))
