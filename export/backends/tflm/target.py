"""TensorFlow Lite Micro: the LiteRT file, run by the interpreter that firmware is built with."""

from __future__ import annotations

from pathlib import Path

import onnx

from ...graph.onnx_passes import count_macs
from ...lint.rule import Rule
from ...targets.base import Artifact, Conversion, Evidence, Placement
from ...targets.board import Bundle
from ...targets.isolated import IsolatedTarget
from ...toolchains import Toolchain
from ..litert.target import LiteRt
from .boards import BOARDS, Board, judge
from .rules import rules

HERE = Path(__file__).resolve().parent

TOOLCHAIN = Toolchain(
    "tflm", home=HERE, packages=("tflite-micro",), python=">=3.10,<3.14", download_mb=17
)
_ARTIFACT = "model.tflite"
_RUN_MACS = 200e9  # some ten minutes on one core: the reference kernels are plain loops


class Tflm(IsolatedTarget):
    """A chip is a board, whose memory the network has to fit; without one there is no limit.

    The PC runs the reference kernels: on a microcontroller, optimised ones (CMSIS-NN, ESP-NN) may
    round otherwise by one step, and take further memory to work in.
    """

    name = "tflm"
    description = "TensorFlow Lite Micro, reference kernels on the PC"
    evidence = Evidence.EXECUTED
    precisions = ("float32", "int8")
    normalization = LiteRt.normalization
    group = "mcu"
    chips = tuple(BOARDS)
    chip_is_optional = True
    source_toolchain = LiteRt.toolchain
    toolchain = TOOLCHAIN

    @property
    def board_limits(self) -> Board | None:
        return BOARDS[self.chip] if self.chip else None

    def versions(self) -> dict[str, str]:
        return {**super().versions(), **LiteRt().versions()}

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def convert(self, job: Conversion) -> Artifact:
        settings = LiteRt().write_tflite(job, _ARTIFACT, floats=True)
        path = job.out / _ARTIFACT
        self.call("prepare", {"file": str(path)}, log=job.log)
        found, _ = self.call("measure", {"file": str(path)}, log=job.log)
        macs = sum(count_macs(onnx.load(job.graph.onnx_of_any_opset())).values())
        settings |= {**found, "flash_bytes": path.stat().st_size, "macs": macs}
        return Artifact(
            target=self.full_name,
            precision=job.precision,
            folder=job.out,
            files=(_ARTIFACT,),
            settings=settings,
            diagnostics=judge(self.board_limits, found["arena_bytes"], settings["flash_bytes"]),
        )

    def placement(self, artifact: Artifact) -> Placement:
        found, board = artifact.settings, self.board_limits
        used = {"RAM": found["arena_bytes"], "flash": found["flash_bytes"]}
        limits = {"RAM": board.ram, "flash": board.flash} if board else {}
        return Placement(
            npu_mac_fraction=None,
            cpu_ops=(),
            weights_bytes=found["weights_bytes"],
            activation_bytes=found["arena_bytes"],
            memory={
                name: {"used": size} | ({"limit": limits[name]} if board else {})
                for name, size in used.items()
            },
        )

    def max_images(self, artifact: Artifact) -> int:
        return max(1, round(_RUN_MACS / max(artifact.settings["macs"], 1)))

    def write_bundle(self, export: Path, out: Path) -> Bundle:
        """C++ sources for firmware, with the network as an array."""
        from .firmware import write_firmware

        return write_firmware(export, out)
