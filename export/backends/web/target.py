"""ONNX Runtime Web on the CPU, by WebAssembly: what runs in browsers, run here by Node.js."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget
from ...toolchains.node import NodeToolchain
from ..onnxruntime.rules import rules
from ..onnxruntime.target import convert_onnx

HERE = Path(__file__).resolve().parent
_BROWSER_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
TOOLCHAIN = NodeToolchain(
    "web", home=HERE, packages=("onnxruntime-web",), python=">=3.10", download_mb=35
)


def library_folder() -> Path:
    """The files of ``onnxruntime-web``, once it is installed."""
    return TOOLCHAIN.modules() / "onnxruntime-web" / "dist"


def browser_files() -> Mapping[str, Path]:
    """What a page loads, installed first, and the licences that go with it.

    The npm package has none; the Python package is made of the same sources.
    """
    TOOLCHAIN.ensure()
    licences = Path(str(files("onnxruntime")))
    return {
        **{name: library_folder() / name for name in _BROWSER_FILES},
        **{name: licences / name for name in ("LICENSE", "ThirdPartyNotices.txt")},
    }


class Web(IsolatedTarget):
    """The file of ``onnxruntime``: float32, and static int8 (QDQ)."""

    name = "web"
    description = "ONNX Runtime Web: browsers, by WebAssembly"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = "host"
    takes_tensors = int8_takes_tensors = True
    toolchain = TOOLCHAIN
    board = BoardRuntime(HERE / "board", library=browser_files)

    def rules(self) -> tuple[Rule, ...]:
        return rules.of()

    def convert(self, job: Conversion) -> Artifact:
        return convert_onnx(self.full_name, job)

    def arguments(self, artifact: Artifact) -> dict[str, Any]:
        library = library_folder() / "ort.node.min.mjs"
        return {**super().arguments(artifact), "library": str(library)}
