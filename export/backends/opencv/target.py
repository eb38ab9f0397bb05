"""OpenCV's ``dnn`` module on the CPU, 4.x: float32 from ONNX."""

from __future__ import annotations

from pathlib import Path

import onnx

from ...graph.files import Graph
from ...graph.written_averages import write_out_averages
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, output_names
from ...toolchains import Toolchain
from .gates import widen_gates
from .rules import rules as rules_of_4
from .rules5 import rules as rules_of_5
from .stable_forms import write_stable_forms

HERE = Path(__file__).resolve().parent


class OpenCv(IsolatedTarget):
    name = "opencv"
    description = "OpenCV DNN 4.x, CPU"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "blobFromImage"
    takes_tensors = True
    toolchain = Toolchain(
        "opencv", home=HERE, packages=("opencv-python-headless",), python=">=3.10", download_mb=79
    )
    board = BoardRuntime(HERE / "board")

    def rules(self) -> tuple[Rule, ...]:
        return rules_of_4.of()

    def convert(self, job: Conversion) -> Artifact:
        source, path = self._source(job.graph), job.out / "model.onnx"
        settings = {**job.normalization, "outputs": output_names(source)}
        arguments = {"onnx": str(source), "out": str(path), "settings": settings}
        self.call("convert", arguments, log=job.log)
        return Artifact(self.full_name, job.precision, job.out, (path.name,), settings)

    def _source(self, graph: Graph) -> Path:
        """The ONNX file that is to be converted."""
        source = graph.onnx(18)
        path = source.with_stem(self.name)
        onnx.save(self._mend(onnx.load(source)), path)
        return path

    def _mend(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        """4.x counts an average's padding, whatever the file says."""
        return write_stable_forms(write_out_averages(proto), is_5=False)


class OpenCv5(OpenCv):
    """Run by its new engine, which ``readNetFromONNX`` takes where no engine is named.

    It is as near to PyTorch as 4.x's without Winograd. What it cannot read goes to 4.x's, which 5.0
    still has, without a word: of 1,000 small networks this saved none.
    """

    name = "opencv5"
    description = "OpenCV DNN 5.x, CPU"
    no_int8 = "it has no quantiser, and ONNX Runtime's int8 files are slower there than float32"
    toolchain = Toolchain(
        "opencv5",
        home=HERE,
        packages=("opencv-python-headless",),
        python=">=3.10",
        download_mb=78,
        requirements_file="requirements5.txt",
    )

    def rules(self) -> tuple[Rule, ...]:
        return rules_of_5.of()

    def _mend(self, proto: onnx.ModelProto) -> onnx.ModelProto:
        return widen_gates(write_stable_forms(proto, is_5=True))
