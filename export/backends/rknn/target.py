"""Rockchip's NPUs by rknn-toolkit2: float16 and int8, proven on the toolkit's simulator."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ...graph.files import Graph
from ...graph.module_names import ModuleNames
from ...graph.transposed_groups import densify_transposed_groups
from ...graph.written_averages import write_out_averages
from ...lint import Rule
from ...results.compare import ratio_db
from ...targets.base import (
    Artifact,
    Conversion,
    Diagnostic,
    Evidence,
    LayerError,
    Placement,
    Precision,
)
from ...targets.board import BoardRuntime
from ...targets.isolated import (
    IsolatedTarget,
    borrowed_packages,
    read_placement,
    write_placement,
)
from ...toolchains import Toolchain, ToolchainError, ToolchainUnavailable
from .chips import MINI_CHIPS
from .fixes import HINTS, OVERFLOW_MEND, cpu_mend
from .gelu import order_gelu
from .log import (
    RknnLogError,
    count_register_overflows,
    find_fallbacks,
    find_unknown_rows,
    parse_placement,
)
from .pools import split_misread_pools
from .rules import rules
from .rules_torch import torch_rules
from .volumes import fill_volume_groups, split_volume_pads

HERE = Path(__file__).resolve().parent

_WIDE_TYPES = {"rv1103": "int16", "rv1106": "int16"}  # of a layer that int8 ruins, not float16
_NEVER_WIDE = ("rv1103b", "rv1106b")  # no float16, and 2.5.0 dies of int16 with SIGABRT
_OPSET = 18  # the toolkit reads up to 19
_RECURRENT = ("GRU", "LSTM", "RNN")
_RECURRENT_OPSET = 13  # of these: the toolkit reads no layout, which opset 14 adds
_ARTIFACT = "model.rknn"
_CALIBRATION = "source/calibration.npz"
_PLACEMENT = "source/placement.json"
_PROBES = 8  # images by which a ruined layer is known
_RUINED_DB = 15.0  # below it a layer alone loses a fifth of its signal's amplitude
_BOOKKEEPING = ("Input", "exDataConvert")  # rows of the analysis that compute nothing


class Rknn(IsolatedTarget):
    """The simulator runs the graph in memory that ``build()`` made, and never an ``.rknn`` file.

    So :meth:`run` builds anew from the ONNX file and the calibration images, which the artifact
    keeps in ``source/``; two builds answer alike, though their files differ in padding. What the
    file does on a board is not shown by it: the evidence is ``simulated``.

    int8 uses the toolkit's ``normal`` algorithm: its top-1 equals PyTorch's on 10,000 digits for
    both digit networks. ``mmse`` gains 1 to 4 dB and no digit at ten times the building time, and
    every run builds; ``kl_divergence`` gains neither.
    """

    name = "rknn"
    group = "npu"
    description = "Rockchip RKNN, NPU simulator"
    evidence = Evidence.SIMULATED
    precisions = ("float16", "int8")
    normalization = "in the model"
    chips = ("rk3588", "rk3576", "rk3566", "rk3568", "rk3562", *MINI_CHIPS, "rv1126b")
    algorithms = ("normal", "mmse", "kl_divergence")
    _model = "source/model.onnx"
    toolchain = Toolchain(
        "rknn",
        home=HERE,
        packages=("rknn-toolkit2",),
        python=">=3.10,<3.13",
        download_mb=179,
        hints=HINTS,
    )
    board = BoardRuntime(
        HERE / "board",
        input_type="uint8",
        input_layout="NHWC",
        normalized_by="model",
        takes_sources=True,
    )

    def supported_precisions(self) -> tuple[Precision, ...]:
        return ("int8",) if self.chip in MINI_CHIPS else self.precisions

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def arguments(self, artifact: Artifact) -> dict[str, Any]:
        """Where a PyTorch is for the toolkit goes along, and not into the manifest."""
        arguments = super().arguments(artifact)
        settings = {**arguments["settings"], "packages": self._packages()}
        return {**arguments, "settings": settings}

    def _packages(self) -> str | None:
        """None where PyTorch does not fit: then the few rewrites fail that ask for it."""
        try:
            return borrowed_packages(self.toolchain)
        except ToolchainUnavailable:
            return None

    def can_mix(self) -> bool:
        return self.chip not in _NEVER_WIDE

    def reproduction_source(self, job: Conversion) -> Path | None:
        return job.out / self._model

    def convert(self, job: Conversion) -> Artifact:
        artifact = self._write_sources(job)
        if job.quantization.mixed and job.calibration is not None:
            artifact = self._widen(artifact, job.calibration[:_PROBES], job.log)
        arguments = {**self.arguments(artifact), "out": str(job.out / _ARTIFACT)}
        values, _ = self.call("convert", arguments, log=job.log)
        placement = self._parse(values["log"], self._modules(artifact), job.log)
        write_placement(placement, job.out / _PLACEMENT)
        diagnostics = self._concerns(placement, values["log"])
        settings = {**artifact.settings, "disabled_rules": values["disabled_rules"]}
        return replace(artifact, settings=settings, diagnostics=diagnostics)

    def _write_sources(self, job: Conversion) -> Artifact:
        """What every build is made of, and an artifact that is not built yet."""
        model = job.out / self._model
        model.parent.mkdir(exist_ok=True)
        self._write_model(job.graph, job.precision, model)
        settings = {
            **job.normalization,
            "model": self._model,
            "calibration": None,
            "algorithm": job.quantization.algorithm or self.algorithms[0],
            "wide": [],
            "disabled_rules": [],
            "shape": list(job.graph.spec.input_shape),
        }
        sources = [self._model, _PLACEMENT]
        if job.calibration is not None:
            np.savez_compressed(job.out / _CALIBRATION, images=job.calibration)
            sources.append(_CALIBRATION)
            settings["calibration"] = _CALIBRATION
        files = (_ARTIFACT,)
        return Artifact(self.full_name, job.precision, job.out, files, settings, tuple(sources))

    def _widen(self, artifact: Artifact, images: np.ndarray, log: Path) -> Artifact:
        """Keep the layers that int8 ruins, and those that feed them, in 16 bits."""
        rows = [row for row in self._analyze(artifact, images, log) if _own_db(row) < _RUINED_DB]
        names = sorted({name for row in rows for name in row["group"]})
        modules = self._modules(artifact)
        wide = {
            "wide": names,
            "wide_type": _WIDE_TYPES.get(self.chip or "", "float16"),
            "wide_modules": sorted({modules.find(name) for name in names}),
        }
        return replace(artifact, settings={**artifact.settings, **wide})

    def _write_model(self, graph: Graph, precision: Precision, path: Path) -> None:
        """The file that the toolkit reads."""
        network = onnx.load(graph.onnx(_OPSET))
        if any(node.op_type in _RECURRENT for node in network.graph.node):
            network = onnx.load(graph.onnx(_RECURRENT_OPSET))
        # Up to 2.5.0 the NPU computes the last row and column of an average with ceil_mode wrongly
        # where the channels are a multiple of 16 (4 dB), without a word; with
        # count_include_pad=False it is the CPU that averages; of padded volumes the compiler dies.
        network = write_out_averages(split_misread_pools(network))
        network = order_gelu(fill_volume_groups(split_volume_pads(network)))
        if precision == "int8":  # 2.5.0's simulator dies of other groups: "scale_inf.shape error!"
            network = densify_transposed_groups(network, keeps_depthwise=True)
        onnx.save(network, path)

    def _modules(self, artifact: Artifact) -> ModuleNames:
        return ModuleNames(artifact.folder / self._model)

    def placement(self, artifact: Artifact) -> Placement | None:
        return read_placement(artifact.folder / _PLACEMENT)

    def layer_errors(self, artifact: Artifact, images: np.ndarray, log: Path) -> list[LayerError]:
        """By the toolkit's ``accuracy_analysis``, on the simulator.

        Its float reference is the toolkit's own graph: what it makes wrongly of the network in the
        first place is not seen here.
        """
        return [
            LayerError(
                name=row["name"],
                module=row["module"],
                op=row["op"],
                cosine=row["cosine"],
                sqnr_db=ratio_db(row["signal"], row["error"]),
                own_cosine=row["own_cosine"],
                own_sqnr_db=_own_db(row),
            )
            for row in self._analyze(artifact, images, log)
        ]

    def _analyze(self, artifact: Artifact, images: np.ndarray, log: Path) -> list[dict[str, Any]]:
        """The worker's rows of the layers that compute, each with its ``module``."""
        arrays = {"images": images}
        arguments = self.arguments(artifact)
        values, _ = self.call("analyze", arguments, arrays, log=log)
        modules = self._modules(artifact)
        return [
            {**row, "module": modules.find(row["name"])}
            for row in values["layers"]
            if row["op"] not in _BOOKKEEPING
        ]

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

    def _concerns(self, placement: Placement, log: str) -> tuple[Diagnostic, ...]:
        """What the toolkit accepts and the simulator does not show."""
        is_mini = self.chip in MINI_CHIPS
        what = "which this chip's runtime may refuse" if is_mini else "which costs time"
        diagnostics = [
            Diagnostic(
                f"{row['op']} of {row['module'] or 'the network itself'} ({row['name']}) falls to "
                f"the CPU, {what}: {cpu_mend(row['op'])}",
                fatal=is_mini,
            )
            for row in placement.layers
            if row["target"] != "NPU"
        ]
        diagnostics += [
            Diagnostic(f"the compiler says: {words}; look at the layer's time on the board")
            for words in find_fallbacks(log)
        ]
        diagnostics += [
            Diagnostic(f"a row of the toolkit's layer table is unknown, and not counted: {row}")
            for row in find_unknown_rows(log)
        ]
        if overflows := count_register_overflows(log):
            diagnostics.append(
                Diagnostic(
                    f"{overflows} values do not fit the NPU's registers (REGTASK in the log), so "
                    f"that a board may compute something else: {OVERFLOW_MEND}"
                )
            )
        return tuple(diagnostics)


class RknnTorchScript(Rknn):
    """The toolkit's other way in: ``load_pytorch`` reads a TorchScript trace.

    That needs a whole PyTorch in the toolchain's environment. It borrows edgeark's own, whose
    compiled parts want the same Python; the toolkit asks for torch <= 2.4, and answers alike with
    2.15. The trace is not frozen: of one that is, the toolkit cannot read the bounds of ReLU6.
    Layers have no module names, since a trace has none.
    """

    name = "rknn-torchscript"
    excluded_from_groups = True
    description = "Rockchip RKNN from TorchScript, NPU simulator"
    _model = "source/model.pt"

    def rules(self) -> tuple[Rule, ...]:
        return torch_rules.of(self.chip or "")

    def _write_model(self, graph: Graph, precision: Precision, path: Path) -> None:
        shutil.copyfile(graph.torchscript(frozen=False), path)

    def _modules(self, artifact: Artifact) -> ModuleNames:
        return ModuleNames(None)

    def _packages(self) -> str:
        return borrowed_packages(self.toolchain)


def _own_db(row: dict[str, Any]) -> float:
    return ratio_db(row["signal"], row["own_error"])
