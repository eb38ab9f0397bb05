"""OpenPPL's PPLNN on x86 CPUs: an ONNX file within its limits, and a script that runs it.

There is no package of PPLNN, so the evidence is ``generated`` and the file is proven on ONNX
Runtime. Where the user has a ``pplnn`` of their own, it runs the pictures: ``executed``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from ...zoo.registry import name_of
from ..bundles.runner import call_runner, write_runner
from ..graph import INPUT_NAME, Graph, GraphError
from ..lint.pplnn import RULES
from ..lint.rule import Rule
from ..target import Artifact, Conversion, Evidence, RunResult, Target, run_one_by_one
from ..toolchains import ToolchainError
from .isolated import output_names
from .onnxruntime import make_session
from .pplnn_graph import LAST_OPSET, find_unread, rewrite_resizes
from .rknn1 import unshare

_OPSET = 11  # what its documents ask for: every operator that it has is there
_MODEL = "model.onnx"
_EXECUTED = 100  # test pictures at most: each is a process


class PplNn(Target):
    """A node's limits are those of the file's opset: Reshape, for one, ends at 13, so 11 it is.

    What the exporter cannot write at 11 is tried at 16, the last that PPLNN reads.
    """

    name = "pplnn"
    description = "OpenPPL PPLNN, x86 CPU, script and network"
    evidence = Evidence.GENERATED
    precisions = ("float32",)
    normalization = "host"
    program = "pplnn"

    def rules(self) -> tuple[Rule, ...]:
        return RULES

    def versions(self) -> dict[str, str]:
        return {"onnx": onnx.__version__}

    def convert(self, job: Conversion) -> Artifact:
        proto = rewrite_resizes(unshare(onnx.load(_write(job.graph))))
        if unread := find_unread(proto):
            more = f" (and {len(unread) - 1} more in the log)" if unread[1:] else ""
            job.log.write_text("\n".join(unread) + "\n")
            raise ToolchainError(
                f"pplnn: {unread[0]}{more}; log: {job.log}", stage="check", log=job.log
            )
        onnx.save(proto, job.out / _MODEL)
        answers = job.graph.reference(np.zeros(job.graph.spec.input_shape, np.uint8))
        names = output_names(job.out / _MODEL)
        outputs = [(name, a.shape[1:]) for name, a in zip(names, answers, strict=True)]
        opset = proto.opset_import[0].version
        name, spec = name_of(job.graph.model), job.graph.spec
        kit = write_runner(job.out, self.name, name, spec, outputs, opset=opset)
        files = (_MODEL, *kit)
        return Artifact(self.full_name, job.precision, job.out, files, job.normalization)

    def run(self, artifact: Artifact, pictures: np.ndarray, log: Path) -> RunResult | None:
        program = self.find_program()
        if program is None:
            return None
        options = ["--pplnn", str(program)]
        return call_runner(artifact.folder, self.name, pictures, options, log=log, timeout=1800)

    def run_sources(self, artifact: Artifact, pictures: np.ndarray) -> dict[str, RunResult]:
        """The ONNX file on ONNX Runtime."""
        session = make_session(artifact.folder / _MODEL)
        result = run_one_by_one(
            lambda x: session.run(None, {INPUT_NAME: x}), pictures, artifact.settings
        )
        return {_MODEL: result}

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        return Evidence.GENERATED if result is None else Evidence.EXECUTED

    def max_images(self, artifact: Artifact) -> int | None:
        return None if self.find_program() is None else _EXECUTED


def _write(graph: Graph) -> Path:
    try:
        return graph.onnx(_OPSET)
    except GraphError:
        return graph.onnx(LAST_OPSET)
