"""OpenPPL's PPLNN on x86 CPUs: an ONNX file within its limits, and a script that runs it.

There is no package of PPLNN, so the evidence is ``generated`` and the file is proven on ONNX
Runtime. Where the user has a ``pplnn`` of their own, it runs the images: ``executed``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from ....zoo.spec import name_of
from ...graph.files import Graph, GraphError
from ...graph.onnx_files import clean_onnx
from ...graph.onnx_passes import duplicate_shared_initializers
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, RunResult
from ...targets.isolated import output_names
from ...targets.runner import call_runner, require_own_runner, write_runner
from ...targets.tool_target import ToolTarget
from ...targets.tools import ExternalTool
from ...toolchains import ToolchainError
from ..onnxruntime.target import run_onnx
from .onnx_forms import rewrite_forms
from .onnx_passes import LAST_OPSET, find_unread, rewrite_resizes
from .rules import rules

_OPSET = 11  # what its documents ask for: every operator that it has is there
_MODEL = "model.onnx"
_EXECUTED = 100  # test images at most: each is a process


class PplNn(ToolTarget):
    """A node's limits are those of the file's opset: ReduceSum, for one, ends at 12, so 11 it is.

    What the exporter cannot write at 11 is tried at 16, the last that PPLNN reads.
    """

    name = "pplnn"
    description = "OpenPPL PPLNN, x86 CPU, script and network"
    evidence = Evidence.GENERATED
    precisions = ("float32",)
    normalization = "host"
    external_tool = ExternalTool("pplnn", "the pplnn program", on_path=True)

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__}

    def convert(self, job: Conversion) -> Artifact:
        # At opset 11 the exporter computes sizes in the network: constants, for a fixed input.
        proto = clean_onnx(duplicate_shared_initializers(onnx.load(_write(job.graph))))
        proto = rewrite_forms(rewrite_resizes(proto))
        if unread := find_unread(proto):
            more = f" (and {len(unread) - 1} more in the log)" if unread[1:] else ""
            job.log.write_text("\n".join(unread) + "\n")
            raise ToolchainError(
                f"pplnn: {unread[0]}{more}; log: {job.log}", stage="check", log=job.log
            )
        onnx.save(proto, job.out / _MODEL)
        names = output_names(job.out / _MODEL)
        shapes = (shape[1:] for shape in job.graph.output_shapes)
        outputs = list(zip(names, shapes, strict=True))
        opset = proto.opset_import[0].version
        name, spec = name_of(job.graph.model), job.graph.spec
        kit = write_runner(job.out, self.name, name, spec, outputs, opset=opset)
        files = (_MODEL, *kit)
        return Artifact(self.full_name, job.precision, job.out, files, job.normalization)

    def run_tool(
        self, tool: Path, artifact: Artifact, images: np.ndarray, log: Path, *, confined: bool
    ) -> RunResult | None:
        options = ["--pplnn", str(tool)]
        return call_runner(artifact.folder, self.name, images, options, log=log, confined=confined)

    def require_own_scripts(self, folder: Path) -> None:
        require_own_runner(folder, self.name)

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        """The ONNX file on ONNX Runtime."""
        return {_MODEL: run_onnx(artifact.folder / _MODEL, images, artifact.settings)}

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        return Evidence.GENERATED if result is None else Evidence.EXECUTED

    def max_images(self, artifact: Artifact) -> int | None:
        return None if self.find_tool() is None else _EXECUTED


def _write(graph: Graph) -> Path:
    try:
        return graph.onnx(_OPSET)
    except GraphError:
        return graph.onnx(LAST_OPSET)
