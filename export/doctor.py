"""What this machine has, and what to do about what it lacks: ``edgeark doctor``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from .. import __version__
from ..core.catalog import WEIGHTS_DIR
from ..core.scratch import scratch_folder
from ..core.settings import CACHE_VARIABLE, cache_folder, is_offline
from ..errors import EdgearkError
from ..training.data.sources import DATA_VARIABLE
from .results.manifest import sha256_of
from .targets import find_target, list_targets
from .toolchains import Toolchain
from .toolchains.confine import can_confine
from .toolchains.memory import JOB_BYTES, available_bytes

LITTLE_DISK_GB = 10.0  # the largest toolchains take two each, with what is unpacked meanwhile
_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "timm", "numpy")
_PROGRAMS = {
    "c++": "compiles the C++ programs of `edgeark bundle --lang cpp`; the board can do it too",
    "cmake": "builds them",
    "node": "runs networks as browsers do, for the target web",
    "npm": "fetches what that needs",
}

Health = Literal["ok", "note", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's: a ``note`` costs something, a ``problem`` stops something."""

    name: str
    health: Health
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine() -> list[Check]:
    """Look at the machine; nothing is installed, fetched or changed."""
    checks = [_python(), _packages(), _memory(), *_cache(), _network(), _confinement()]
    checks += [_data(), _weights(), *_programs(), *_toolchains()]
    return checks


def _python() -> Check:
    where = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    found = f"edgeark {__version__}, Python {platform.python_version()}, {where}"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return Check("machine", "ok", found)
    advice = "most vendors' converters are made for Linux on x86-64: others become error rows"
    return Check("machine", "note", found, advice)


def _packages() -> Check:
    versions = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    return Check("packages", "ok", ", ".join(versions))


def _memory() -> Check:
    free = available_bytes()
    if free is None:
        return Check("memory", "note", "unknown", "leave --jobs at 1 for large networks")
    found, job = f"{free / 2**30:.1f} GiB free", f"{JOB_BYTES / 2**30:.0f} GiB"
    if free >= JOB_BYTES:
        return Check("memory", "ok", f"{found}: room for --jobs {free // JOB_BYTES}, {job} each")
    return Check("memory", "note", found, f"large networks may not convert: they take up to {job}")


def _cache() -> list[Check]:
    advice = f"name another with ${CACHE_VARIABLE}"
    try:
        folder = cache_folder()
    except EdgearkError as error:
        return [Check("cache", "problem", str(error), advice)]
    return [_writable(folder, advice), _disk(folder)]


def _writable(folder: Path, advice: str) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_folder("doctor"):
            pass
        is_writable = os.access(folder, os.W_OK)
    except (OSError, EdgearkError) as error:
        return Check("cache", "problem", f"{folder}: {error}", advice)
    if is_writable:
        return Check("cache", "ok", str(folder))
    return Check("cache", "problem", f"{folder} cannot be written to", advice)


def _disk(folder: Path) -> Check:
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.1f} GB free for the cache"
    if free >= LITTLE_DISK_GB:
        return Check("disk", "ok", found)
    return Check(
        "disk", "note", found, "toolchains take up to 2 GB each: edgeark targets remove NAMES"
    )


def _network() -> Check:
    if not is_offline():
        return Check("network", "ok", "toolchains that are missing are fetched at first use")
    return Check("network", "note", "$EDGEARK_OFFLINE is set: nothing is fetched")


def _confinement() -> Check:
    if can_confine():
        return Check("confinement", "ok", "others' exports run without write access or network")
    advice = "Linux 5.13 with Landlock has it; open only exports that you trust (docs/trust.md)"
    return Check("confinement", "note", "others' files cannot be confined here", advice)


def _data() -> Check:
    given = os.environ.get(DATA_VARIABLE)
    if not given:
        return Check("data", "ok", f"${DATA_VARIABLE} is not set: --data names data sets")
    if Path(given).is_dir():
        return Check("data", "ok", f"${DATA_VARIABLE} is {given}")
    return Check("data", "problem", f"${DATA_VARIABLE} is {given}: no such folder", "unset it")


def _weights() -> Check:
    lines = (WEIGHTS_DIR / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    wanted = {name: digest for digest, name in (line.split() for line in lines)}
    changed = [
        name
        for name, digest in wanted.items()
        if not (WEIGHTS_DIR / name).is_file() or sha256_of(WEIGHTS_DIR / name) != digest
    ]
    if not changed:
        return Check("weights", "ok", f"{len(wanted)} files as they were shipped")
    return Check("weights", "problem", f"changed: {', '.join(changed)}", "install edgeark again")


def _programs() -> Iterator[Check]:
    for name, use in _PROGRAMS.items():
        path = shutil.which(name)
        yield Check(name, "ok", path) if path else Check(name, "note", "none on PATH", use)


def _toolchains() -> Iterator[Check]:
    chains = {c.name: c for name in list_targets() for c in find_target(name).toolchains()}
    for name, chain in sorted(chains.items()):
        yield Check(name, *_state(chain))


def _state(chain: Toolchain) -> tuple[Health, str, str]:
    try:
        if chain.is_installed():
            return "ok", "installed", ""
    except EdgearkError as error:
        return "note", str(error), ""
    size = f"not installed (about {chain.download_mb:,} MB to fetch)"
    if is_offline():
        return "note", size, "without a network it cannot be: install it before"
    if lacks := chain.lacks():
        return "note", f"{size}; {lacks}", ""
    return "ok", f"{size}; installed at first use", ""
