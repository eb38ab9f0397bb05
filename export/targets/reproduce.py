"""``reproduce.py``: an export's conversion and run as a script of the vendor's packages alone."""

from __future__ import annotations

import inspect
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .base import Artifact, Conversion, Target
from .templates import open_templates

SCRIPT = "reproduce.py"
_TEMPLATE = f"{SCRIPT}.jinja"
_SHARED = Path(__file__).parent / "reproduce_templates"
_SOURCES = "source"
_MOST_BYTES = 2**26  # of calibration images that are kept for it
_FILE_IS_READ = "The runtime reads the file of this folder itself: nothing is converted."
_FILE_IS_OURS = "The file of this folder was quantised by edgeark: it is run as it is."


def write_reproduction(
    target: Target, job: Conversion, artifact: Artifact, model: str, allowed: float
) -> None:
    """Write the script, and what the converter reads, into an export's folder.

    Nothing is written where the target has no template for it.

    Args:
        target: it has converted.
        job: what was converted.
        artifact: what came of it.
        model: the network's name.
        allowed: of the largest answer, by how much another processor may answer otherwise.
    """
    home = Path(inspect.getfile(type(target))).parent
    if not (home / _TEMPLATE).exists():
        return
    source, calibration = _keep(target.reproduction_source(job), job), None
    if source is not None and job.calibration is not None:
        calibration = _keep_calibration(job)
        source = source if calibration else None
    spec = job.graph.spec
    text = (
        open_templates(home, _SHARED)
        .get_template(_TEMPLATE)
        .render(
            model=model,
            target=target.full_name,
            chip=target.chip,
            precision=artifact.precision,
            files=list(artifact.files),
            settings=artifact.settings,
            shape=spec.input_shape,
            mean=list(spec.mean),
            std=list(spec.std),
            source=source,
            calibration=calibration,
            unconverted=_FILE_IS_OURS if job.calibration is not None else _FILE_IS_READ,
            allowed=allowed,
            pins=_pins(target),
            python=target.toolchain.python if target.toolchain else ">=3.10",
        )
    )
    (job.out / SCRIPT).write_text(re.sub(r"\n{4,}", "\n\n\n", text), encoding="utf-8")


def _keep(source: Path | None, job: Conversion) -> str | None:
    """The name of the file in the export's folder."""
    if source is None:
        return None
    if source.is_relative_to(job.out):
        return source.relative_to(job.out).as_posix()
    (job.out / _SOURCES).mkdir(exist_ok=True)
    kept = job.out / _SOURCES / f"model{source.suffix}"
    shutil.copyfile(source, kept)
    return kept.relative_to(job.out).as_posix()


def _keep_calibration(job: Conversion) -> str | None:
    images, path = job.calibration, job.out / _SOURCES / "calibration.npz"
    assert images is not None
    if not path.exists():
        if images.nbytes > _MOST_BYTES:
            return None
        np.savez_compressed(path, images=np.asarray(images))
    return path.relative_to(job.out).as_posix()


def _pins(target: Target) -> list[str]:
    """What a user installs: the toolchain's packages and NumPy, in the versions that are used."""
    chain = target.toolchain
    if chain is None:
        return [f"{n}=={version(n)}" for n in sorted({"numpy", "onnx", *target.versions()})]
    return chain.pins({*chain.declared_packages(), "numpy"})
