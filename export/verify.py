"""An export's folder, opened again: its target runs it, on whatever machine it has come to."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..core.crash_log import describe_fault, is_debugging
from ..core.settings import trusts_files
from ..errors import EdgearkError
from .results.compare import compare
from .results.folder import GOLDEN_COUNT, MANIFEST
from .results.manifest import Manifest, ManifestError, read_manifest, sha256_of
from .results.schema import VerifyResult
from .targets import TargetError, find_target
from .targets.base import Artifact, Evidence, Precision, RunResult, Target
from .toolchains import ToolchainUnavailable
from .toolchains.environment import log_folder

# Of the largest magnitude, at least 1: what another processor's rounding may change.
REPEAT_TOLERANCE: dict[Precision, float] = {"float32": 1e-4, "float16": 1e-2, "int8": 0.1}


MOST_GOLDEN_BYTES = 2**31
_MOST_VALUES = 2**28  # of one array: others are made of it, in float64
_RAN = {Evidence.EXECUTED.value, Evidence.SIMULATED.value, Evidence.MODELLED.value}


@dataclass(frozen=True)
class Golden:
    """Raw images with the answers that the export gave, and PyTorch's; no answers: unrun."""

    images: np.ndarray
    answers: list[np.ndarray]
    reference: list[np.ndarray]


@dataclass(frozen=True)
class Reopened:
    """An export that was written earlier, perhaps elsewhere."""

    folder: Path
    manifest: Manifest

    @cached_property
    def target(self) -> Target:
        return find_target(self.manifest.target)

    @property
    def artifact(self) -> Artifact:
        found = self.manifest
        files = tuple(file.name for file in found.files)
        folder = self.folder.resolve()
        return Artifact(found.target, found.precision, folder, files, found.settings, found.sources)

    @property
    def log(self) -> Path:
        """Where the words of its runtime go: the folder stays as it is."""
        name = "-".join([self.manifest.model, self.target.folder_name, self.manifest.precision])
        return log_folder() / f"run-{name}.log"

    def changed_files(self) -> list[str]:
        """Files that are missing, or not those that the manifest describes."""
        golden = self.manifest.golden
        named = [(file.name, file.sha256, file.bytes) for file in self.manifest.files]
        if golden.sha256 is not None:
            named.append((golden.file, golden.sha256, None))
        return [name for name, digest, size in named if not self._is_same(name, digest, size)]

    def has(self, name: str) -> bool:
        """Whether a file lies in the folder itself, and is no link to another place."""
        path = self.folder / name
        return path.is_file() and self.folder.resolve() in path.resolve().parents

    def _is_same(self, name: str, digest: str, size: int | None) -> bool:
        path = self.folder / name
        is_whole = self.has(name) and size in (None, path.stat().st_size)
        return is_whole and sha256_of(path) == digest

    def golden(self) -> Golden:
        """The golden vectors.

        Raises:
            EdgearkError: they are missing, or broken.
        """
        path = self.folder / self.manifest.golden.file
        try:
            with np.load(path, allow_pickle=False) as file:
                if sum(info.file_size for info in file.zip.infolist()) > MOST_GOLDEN_BYTES:
                    raise ValueError(f"more than {MOST_GOLDEN_BYTES // 2**30} GiB of numbers")
                answers, reference = (
                    [_finite(file[name], name) for name in _numbered(file.files, kind)]
                    for kind in ("output", "pytorch")
                )
                golden = Golden(file["input"], answers, reference)
        except (
            *(OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, MemoryError),
            *(zipfile.BadZipFile, zlib.error, NotImplementedError),
        ) as error:
            raise EdgearkError(f"cannot read {path}: {error}") from None
        self._check_golden(path, golden)
        return golden

    def _check_golden(self, path: Path, golden: Golden) -> None:
        """Whether the vectors say something of this network: as many as there have to be."""
        count, images = len(golden.images) if golden.images.ndim else 0, golden.images
        wanted = self.manifest.spec.input_shape[1:] if images.dtype.names is None else ()
        fits = images.dtype.names is not None or images.dtype == np.uint8
        if count == 0 or images.shape[1:] != wanted or not fits:
            raise EdgearkError(f"{path}: no inputs as this network takes them")
        if count > GOLDEN_COUNT:
            raise EdgearkError(f"{path}: {count} inputs, and an export has {GOLDEN_COUNT} at most")
        outputs = len(self.manifest.outputs)
        ran = (self.manifest.evidence or "").partition(" ")[0] in _RAN
        for kind, arrays in (("PyTorch", golden.reference), ("the export", golden.answers)):
            if kind == "the export" and not ran and not arrays:
                continue  # nothing had run it
            if len(arrays) != outputs or any(len(each) != count for each in arrays):
                raise EdgearkError(
                    f"{path}: {kind} has {len(arrays)} answers to {count} inputs, not {outputs} of "
                    f"{count}: export again"
                )


def _finite(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise ValueError(f"{name} is no array of numbers")
    if array.size > _MOST_VALUES:
        raise ValueError(f"{name} has more than {_MOST_VALUES // 2**20} Mi values")
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} holds infinite or undefined values, or none")
    return array


def _numbered(names: Sequence[str], kind: str) -> list[str]:
    count = sum(name.startswith(kind) for name in names)
    return [f"{kind}{index}" for index in range(count)]


def reopen(path: Path) -> Reopened:
    """The export in a folder, or that a file belongs to.

    Raises:
        ManifestError: there is no manifest, it is not one, or its target is not known here.
    """
    if not path.exists():
        raise ManifestError(f"there is no {path}")
    folder = path if path.is_dir() else path.parent
    found, manifest = Reopened(folder, read_manifest(folder)), folder / MANIFEST
    names = [file.name for file in found.manifest.files]
    if not names:
        raise ManifestError(f"{manifest} names no file")
    if not (path.is_dir() or path.name in names):
        raise ManifestError(f"{manifest} says nothing of {path.name}")
    try:
        _ = found.target
    except TargetError as error:
        raise ManifestError(f"{manifest}: {error}") from None
    return found


def find_exports(path: Path) -> list[Reopened]:
    """All exports in a folder and below it, by name.

    Raises:
        ManifestError: there is none, or one of them is broken.
    """
    found = path.rglob(MANIFEST) if path.is_dir() else ()
    folders = sorted(
        manifest.parent
        for manifest in found
        if not any(part.startswith(".") for part in manifest.relative_to(path).parts)
    )
    return [reopen(folder) for folder in folders or [path]]


def verify_export(export: Reopened) -> VerifyResult:
    """Run an export on its golden images: whether it answers as it did when it was written.

    Where nothing here runs it, its files alone are compared with the manifest.
    """
    found = export.manifest
    row = VerifyResult(
        folder=export.folder,
        model=found.model,
        target=found.target,
        precision=found.precision,
        status="failed",
    )
    try:
        if changed := export.changed_files():
            names = ", ".join(changed)
            return row.replace(message=f"not the files that {MANIFEST} describes: {names}")
        return _run_again(export, export.golden(), row)
    except ToolchainUnavailable as error:
        return row.replace(status="unavailable", message=str(error), log=error.log)
    except EdgearkError as error:
        return row.replace(status="error", message=str(error), log=getattr(error, "log", None))
    except Exception as error:
        if is_debugging():
            raise
        return row.replace(status="error", message=describe_fault(error))


def _run_again(export: Reopened, golden: Golden, row: VerifyResult) -> VerifyResult:
    target, artifact, found = export.target, export.artifact, export.manifest
    result = _run(export, golden.images)
    if result is None:
        message = f"the files are whole; nothing here runs {target.full_name}"
        return row.replace(status="ok", message=message)
    parity = compare(golden.reference, result.outputs)
    row = row.replace(
        evidence=_again(found.evidence, target.evidence_of(artifact, result)),
        max_abs_error=parity.max_abs_error,
        sqnr_db=parity.sqnr_db,
        log=export.log if export.log.exists() else None,
    )
    if not golden.answers:
        message = "nothing had run it before"
        return row.replace(status="ok", message=message)
    repeated = compare(golden.answers, result.outputs)
    allowed = allowed_repeat_error(row.precision, repeated.peak)
    row = row.replace(repeat_error=repeated.max_abs_error)
    if repeated.max_abs_error > allowed:
        words = f"it answered otherwise when it was written: by {repeated.max_abs_error:.2e}"
        return row.replace(message=f"{words}, more than {allowed:.1e}")
    if found.status not in (None, "ok"):
        words = f"unchanged, but it was {found.status} when it was written: {found.message}"
        return row.replace(status=found.status, message=words)
    return row.replace(status="ok")


def _again(before: str | None, now: Evidence) -> str:
    """The evidence of today, on the same samples and against the same reference as before."""
    _, _, rest = (before or "").partition(" ")
    return f"{now.value} {rest}".strip()


def allowed_repeat_error(precision: Precision, peak: float) -> float:
    """How far the answers of another processor may be from those of this export."""
    return REPEAT_TOLERANCE[precision] * max(1.0, peak)


def _run(export: Reopened, images: np.ndarray) -> RunResult | None:
    export.log.unlink(missing_ok=True)  # of an earlier run
    try:
        run = export.target.run if trusts_files() else export.target.run_untrusted
        return run(export.artifact, images, export.log)
    except KeyError as error:
        raise ManifestError(f"{export.folder / MANIFEST}: settings have no {error}") from None


def require_unchanged(export: Reopened) -> None:
    """Whether the files are those that the manifest describes.

    Raises:
        EdgearkError: one of them is not.
    """
    if changed := export.changed_files():
        raise EdgearkError(f"not the files that {export.folder / MANIFEST} describes: {changed[0]}")


def run_export(export: Reopened, images: np.ndarray) -> RunResult:
    """An export's answers to raw images, uint8 ``[N, C, H, W]``; see :func:`require_unchanged`.

    Raises:
        EdgearkError: nothing here runs it.
        ToolchainError: its runtime failed.
    """
    result = _run(export, images)
    if result is None:
        raise EdgearkError(f"nothing here runs {export.target.full_name}: {export.folder}")
    return result
