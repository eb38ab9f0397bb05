"""Rockchip's NPUs by rknn-toolkit2: float16 and int8, proven on the toolkit's simulator."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np

from ..target import Artifact, Conversion, Evidence, Placement, Precision
from ..toolchains import Toolchain, ToolchainError
from .isolated import CALIBRATION_TIMEOUT_S, IsolatedTarget, read_placement, write_placement
from .rknn_log import RknnLogError, count_register_overflows, parse_placement

logger = logging.getLogger(__name__)

_MINI_CHIPS = ("rv1103", "rv1106", "rv1103b", "rv1106b")  # int8 alone, and few CPU operators
_OPSET = 18  # the toolkit reads up to 19
_ARTIFACT = "model.rknn"
_ONNX = "source/model.onnx"
_CALIBRATION = "source/calibration.npz"
_PLACEMENT = "source/placement.json"


class Rknn(IsolatedTarget):
    """The simulator runs the graph in memory that ``build()`` made, and never an ``.rknn`` file.

    So :meth:`run` builds anew from the ONNX file and the calibration pictures, which the artifact
    keeps in ``source/``; two builds answer alike, though their files differ in padding. What the
    file does on a board is not shown by it: the evidence is ``simulated``.

    int8 uses the toolkit's ``normal`` algorithm: its top-1 equals PyTorch's on 10,000 digits for
    both digit networks. ``mmse`` gains 1 to 4 dB and no digit at ten times the building time, and
    every run builds; ``kl_divergence`` gains neither.
    """

    name = "rknn"
    description = "Rockchip RKNN, NPU simulator"
    evidence = Evidence.SIMULATED
    precisions = ("float16", "int8")
    normalization = "in the model"
    chips = ("rk3588", "rk3576", "rk3566", "rk3568", "rk3562", *_MINI_CHIPS, "rv1126b")
    toolchain = Toolchain(
        "rknn", packages=("rknn-toolkit2",), python=">=3.10,<3.13", download_mb=179
    )

    def supported_precisions(self) -> tuple[Precision, ...]:
        return ("int8",) if self.chip in _MINI_CHIPS else self.precisions

    def convert(self, job: Conversion) -> Artifact:
        out, onnx, sources = job.out, job.graph.onnx(_OPSET), [_ONNX, _PLACEMENT]
        arguments = {
            **job.normalization,
            "chip": self.chip,
            "onnx": str(onnx),
            "out": str(out / _ARTIFACT),
        }
        values, _ = self.call(
            "convert", arguments, job.arrays, log=job.log, timeout=CALIBRATION_TIMEOUT_S
        )
        (out / _ONNX).parent.mkdir(exist_ok=True)
        self._keep_placement(values["log"], out / _PLACEMENT, job.log)
        shutil.copyfile(onnx, out / _ONNX)
        settings = {**job.normalization, "onnx": _ONNX, "calibration": None}
        if job.calibration is not None:
            np.savez_compressed(out / _CALIBRATION, pictures=job.calibration)
            sources.append(_CALIBRATION)
            settings["calibration"] = _CALIBRATION
        return Artifact(self.full_name, job.precision, out, (_ARTIFACT,), settings, tuple(sources))

    def placement(self, artifact: Artifact) -> Placement | None:
        return read_placement(artifact.folder / _PLACEMENT)

    def _keep_placement(self, words: str, path: Path, log: Path) -> None:
        """Read the build's log, and warn of what the simulator cannot show."""
        try:
            placement = parse_placement(words)
        except RknnLogError as error:
            raise ToolchainError(
                f"rknn: {error}; log: {log}", stage="placement", log=log
            ) from error
        write_placement(placement, path)
        if overflows := count_register_overflows(words):
            logger.warning(
                "%s: %d values do not fit the NPU's registers (REGTASK in the log); the simulator "
                "does not show it, a board may compute something else",
                self.full_name,
                overflows,
            )
        if placement.cpu_ops and self.chip in _MINI_CHIPS:
            logger.warning(
                "%s: %s on the CPU; this chip's runtime may refuse the model",
                self.full_name,
                ", ".join(placement.cpu_ops),
            )
