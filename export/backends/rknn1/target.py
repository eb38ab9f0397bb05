"""Rockchip's first NPUs, by RKNN-Toolkit 1.7: a hand-off, since that toolkit is not to be had here.

Written are two forms of the network, each proven equal to PyTorch, scripts for the toolkit and the
board, and images to calibrate on. Nothing of Rockchip's runs them, so the evidence is
``generated``. Where the user names a Python that has the toolkit, the same scripts are run: then it
is ``compiled``, or ``simulated`` where that release has its simulator still (1.7.5 has none).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx

from ....core.scratch import scratch_folder
from ....zoo.spec import name_of
from ...graph.onnx_passes import duplicate_shared_initializers
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, RunResult
from ...targets.tool_target import ToolTarget
from ...targets.tools import ExternalTool
from ...targets.untrusted import UNTRUSTED_BYTES
from ...toolchains.process import run_command
from ..onnxruntime.target import run_onnx
from ..torchscript.target import run_torchscript
from .rules import rules
from .scripts import CALIBRATION, CONVERT, require_own_kit, write_kit

_OPSET = 11  # 1.7.3 and later read up to 12; 1.7.0 and 1.7.1 have onnx 1.6, which ends at 11
_ONNX, _TRACE, _RKNN = "model.onnx", "model.pt", "model.rknn"
_SIMULATED = 100  # test images at most: the simulator takes seconds for one


class Rknn1(ToolTarget):
    """What is handed over is float32: the toolkit quantises.

    A trace goes along unfrozen, as ``torch.jit.trace`` makes it and as Rockchip's own examples have
    it; of a frozen one, whose weights are constants, no document speaks.
    """

    name = "rknn1"
    group = "npu"
    description = "Rockchip RKNN-Toolkit 1.7, scripts and inputs"
    evidence = Evidence.GENERATED
    precisions = ("float16", "int8")
    normalization = "in the model"
    chips = ("rk1808", "rk3399pro", "rv1109", "rv1126")
    external_tool = ExternalTool("rknn1", "a Python with RKNN-Toolkit 1.7", module="rknn")

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("torch", "onnx", "onnxruntime")}

    def convert(self, job: Conversion) -> Artifact:
        assert self.chip is not None
        graph, out = job.graph, job.out
        onnx.save(duplicate_shared_initializers(onnx.load(graph.onnx(_OPSET))), out / _ONNX)
        shutil.copyfile(graph.torchscript(frozen=False), out / _TRACE)
        shapes = graph.output_shapes
        name = name_of(graph.model)
        files = write_kit(out, name, graph.spec, self.chip, shapes, job.calibration)
        files = (*files, _ONNX, _TRACE)
        tool = self.find_tool()
        if tool is not None:
            self._run_kit(tool, out, job.log, "convert", {"--out": out / _RKNN})
            files = (_RKNN, *files)
        settings = {
            **job.normalization,
            "converted": tool is not None,
            "output_shapes": [list(shape[1:]) for shape in shapes],
        }
        sources = () if job.calibration is None else (f"{CALIBRATION}/",)
        return Artifact(self.full_name, job.precision, out, files, settings, sources)

    def run_tool(
        self, tool: Path, artifact: Artifact, images: np.ndarray, log: Path, *, confined: bool
    ) -> RunResult | None:
        """On the simulator of the user's toolkit, where it has one; it runs what it has built."""
        with scratch_folder("rknn1") as scratch:
            inputs, answers = Path(scratch, "inputs.npz"), Path(scratch, "answers.npz")
            np.savez(inputs, allow_pickle=False, input=images)
            paths = {"--simulate": inputs, "--answers": answers, "--out": Path(scratch, _RKNN)}
            writable = [scratch] if confined else []
            self._run_kit(tool, artifact.folder, log, "simulate", paths, writable)
            if not answers.exists():
                return None
            with np.load(answers) as file:
                outputs = [
                    file[f"output{index}"].reshape(len(images), *shape)
                    for index, shape in enumerate(artifact.settings["output_shapes"])
                ]
                return RunResult(outputs, float(file["ms"]))

    def require_own_scripts(self, folder: Path) -> None:
        require_own_kit(folder)

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        """The ONNX file on ONNX Runtime and the trace in PyTorch, on the CPU, in float32."""
        return {
            _ONNX: run_onnx(artifact.folder / _ONNX, images, artifact.settings),
            _TRACE: run_torchscript(artifact.folder / _TRACE, images, artifact.settings),
        }

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        if result is not None:
            return Evidence.SIMULATED
        return Evidence.COMPILED if artifact.settings["converted"] else Evidence.GENERATED

    def max_images(self, artifact: Artifact) -> int | None:
        return None if self.find_tool() is None else _SIMULATED

    def _run_kit(
        self,
        tool: Path,
        folder: Path,
        log: Path,
        stage: str,
        paths: Mapping[str, Path],
        writable: Sequence[Path] = (),
    ) -> None:
        """Run ``convert.py`` in a copy of the folder: the toolkit leaves files where it works.

        With ``writable``, the folders that it is given for that, it is confined.
        """
        with scratch_folder("rknn1") as scratch:
            kit = shutil.copytree(folder, Path(scratch, "kit"), symlinks=True)
            options = [part for option, path in paths.items() for part in (option, str(path))]
            command = [str(tool), "-I", str(kit / CONVERT), "--verbose", *options]
            run_command(
                *(self.name, stage, command),
                cwd=kit,
                log=log,
                confined_to=[scratch, *writable] if writable else (),
                memory_bytes=UNTRUSTED_BYTES,
            )
