"""Rockchip's NPUs by rknn-toolkit2: float16 and int8, proven on the toolkit's simulator."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..modules import ModuleNames
from ..target import Artifact, Concern, Conversion, Evidence, Placement, Precision
from ..toolchains import Toolchain, ToolchainError
from .isolated import CALIBRATION_TIMEOUT_S, IsolatedTarget, read_placement, write_placement
from .rknn_log import RknnLogError, count_register_overflows, parse_placement
from .rknn_mends import HINTS, OVERFLOW_MEND, cpu_mend

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
        "rknn", packages=("rknn-toolkit2",), python=">=3.10,<3.13", download_mb=179, hints=HINTS
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
        placement = self._parse(values["log"], ModuleNames(onnx), job.log)
        write_placement(placement, out / _PLACEMENT)
        shutil.copyfile(onnx, out / _ONNX)
        settings = {**job.normalization, "onnx": _ONNX, "calibration": None}
        if job.calibration is not None:
            np.savez_compressed(out / _CALIBRATION, pictures=job.calibration)
            sources.append(_CALIBRATION)
            settings["calibration"] = _CALIBRATION
        concerns = self._concerns(placement, count_register_overflows(values["log"]))
        return Artifact(
            self.full_name, job.precision, out, (_ARTIFACT,), settings, tuple(sources), concerns
        )

    def placement(self, artifact: Artifact) -> Placement | None:
        return read_placement(artifact.folder / _PLACEMENT)

    def _parse(self, words: str, modules: ModuleNames, log: Path) -> Placement:
        """The layer table of the build's log, each row with its module."""
        try:
            placement = parse_placement(words)
        except RknnLogError as error:
            raise ToolchainError(
                f"rknn: {error}; log: {log}", stage="placement", log=log
            ) from error
        layers = ({**row, "module": modules.find(row["name"])} for row in placement.layers)
        return replace(placement, layers=tuple(layers))

    def _concerns(self, placement: Placement, overflows: int) -> tuple[Concern, ...]:
        """What the toolkit accepts and the simulator does not show."""
        is_mini = self.chip in _MINI_CHIPS
        what = "which this chip's runtime may refuse" if is_mini else "which costs time"
        concerns = [
            Concern(
                f"{row['op']} of {row['module'] or 'the network itself'} ({row['name']}) falls to "
                f"the CPU, {what}: {cpu_mend(row['op'])}",
                fatal=is_mini,
            )
            for row in placement.layers
            if row["target"] != "NPU"
        ]
        if overflows:
            concerns.append(
                Concern(
                    f"{overflows} values do not fit the NPU's registers (REGTASK in the log), so "
                    f"that a board may compute something else: {OVERFLOW_MEND}"
                )
            )
        return tuple(concerns)
