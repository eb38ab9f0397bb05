"""Qualcomm's Hexagon HTP by ONNX Runtime's QNN execution provider, run on its emulator."""

from __future__ import annotations

import functools
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from ....zoo.tasks.images import network_inputs
from ...graph.module_names import ModuleNames
from ...graph.onnx_passes import count_macs
from ...graph.transposed_groups import densify_transposed_groups
from ...graph.written_averages import filter_averages
from ...lint.rule import Rule
from ...targets.base import (
    Artifact,
    Conversion,
    Diagnostic,
    Evidence,
    Limits,
    Placement,
    Precision,
)
from ...targets.board import BoardRuntime
from ...targets.isolated import IsolatedTarget, output_names, read_placement, write_placement
from ...toolchains import Hint, Toolchain
from ..onnxruntime.target import SESSION, quantize
from .chips import CHIPS, Htp
from .quantization import htp_qdq
from .rules import rules

HERE = Path(__file__).resolve().parent

TOOLCHAIN = Toolchain(
    "qnn",
    home=HERE,
    packages=("onnxruntime-qnn", "onnxruntime"),
    python=">=3.11",
    download_mb=150,
    hints=(
        Hint(
            "Failed to finalize QNN graph",
            "the HTP's compiler does not say of what: leave out one part of the network after "
            "another, volumes first",
        ),
    ),
)
_OPSET = 18
_ARTIFACT = "model_ctx.onnx"
_SOURCE = "source/model.onnx"
_PLACEMENT = "source/placement.json"
_RUN_MACS = 400e9  # some twenty minutes on one core
_WIDE_COST = 2  # of 16 bits, in the emulator's time
_FLOAT16_LIMITS = Limits(sqnr_db=30.0, metric_drop=0.001)
_OF_PROVIDER = re.compile(r"_token_\d+$")  # what it appends to the names of nodes


class Qnn(IsolatedTarget):
    """The compiler and the emulator are those of Qualcomm's library for x86-64.

    What is run is the context binary, as a phone loads it. ONNX Runtime's own CPU kernels are
    forbidden to take part, so that each operator is on the HTP, or the export fails.

    int8: activations uint8, weights int8 per channel. ``mixed``: activations uint16, the mode that
    Qualcomm calls A16W8. float16: products and sums too, which costs more than stored weights do
    (``yolov5n`` has 39 dB), so that less is asked of it than of CPU runtimes.
    """

    name = "qnn"
    description = "Qualcomm Hexagon HTP, emulated"
    evidence = Evidence.SIMULATED
    precisions = ("float16", "int8")
    normalization = "host"
    group = "npu"
    chips = tuple(CHIPS)
    takes_tensors = int8_takes_tensors = True
    toolchain = TOOLCHAIN
    board = BoardRuntime(HERE / "board", headers=(SESSION,))

    @property
    def htp(self) -> Htp:
        """The generation."""
        assert self.chip is not None
        return CHIPS[self.chip]

    @property
    def _options(self) -> dict[str, str]:
        """Of the execution provider; a manifest, which may be a stranger's, has no say in them."""
        return {**self.htp.options, "offload_graph_io_quantization": "0"}

    def arguments(self, artifact: Artifact) -> dict[str, Any]:
        return {**super().arguments(artifact), "options": self._options}

    def supported_precisions(self) -> tuple[Precision, ...]:
        return self.precisions if self.htp.has_float16 else ("int8",)

    def can_mix(self) -> bool:
        return True

    def limits(self, precision: Precision) -> Limits:
        return _FLOAT16_LIMITS if precision == "float16" else super().limits(precision)

    def rules(self) -> tuple[Rule, ...]:
        return rules.of(self.chip or "")

    def reproduction_source(self, job: Conversion) -> Path:
        return _fixed(job)

    def convert(self, job: Conversion) -> Artifact:
        source, model = _fixed(job), job.out / _SOURCE
        onnx.save(mend(onnx.load(job.graph.onnx(_OPSET))), source)
        model.parent.mkdir(exist_ok=True)
        is_wide = job.calibration is not None and job.quantization.mixed
        if job.calibration is None:
            shutil.copyfile(source, model)
        else:
            inputs = network_inputs(job.calibration, **job.normalization)
            configure = functools.partial(htp_qdq, activation_bits=16 if is_wide else 8)
            quantize(source, model, inputs, job.log, configure)
        settings = {
            **job.normalization,
            "outputs": output_names(source),
            "options": self._options,  # for readers: never read back
        }
        arguments = {"onnx": str(model), "out": str(job.out / _ARTIFACT)}
        values, _ = self.call("convert", {**arguments, "options": self._options}, log=job.log)
        macs = count_macs(onnx.load(source))
        settings |= {"macs": sum(macs.values()), "activation_bits": 16 if is_wide else 8}
        placement = Placement(
            npu_mac_fraction=1.0,
            cpu_ops=(),
            weights_bytes=_weight_bytes(model, job.precision),
            activation_bytes=None,
            layers=_layers(values["operators"], macs, ModuleNames(source)),
        )
        write_placement(placement, job.out / _PLACEMENT)
        if is_wide:
            settings["wide_modules"] = sorted({r["module"] for r in placement.layers if r["macs"]})
        return Artifact(
            target=self.full_name,
            precision=job.precision,
            folder=job.out,
            files=(_ARTIFACT,),
            settings=settings,
            sources=(_SOURCE, _PLACEMENT),
            diagnostics=_wide_concerns(onnx.load(source)) if is_wide else (),
        )

    def placement(self, artifact: Artifact) -> Placement:
        return read_placement(artifact.folder / _PLACEMENT)

    def max_images(self, artifact: Artifact) -> int:
        cost = _WIDE_COST if artifact.settings["activation_bits"] == 16 else 1
        return max(1, round(_RUN_MACS / max(artifact.settings["macs"], 1) / cost))


def mend(network: onnx.ModelProto) -> onnx.ModelProto:
    """An equal network without what the compiler gets wrong.

    Those are grouped transposed convolutions (in float16 with ``output_padding`` alone), and
    averages: in float16 padded ones of most windows, with either precision those with ``ceil_mode``
    or uncounted padding. Each costs 20 to 60 dB.
    """
    return filter_averages(densify_transposed_groups(network))


def _fixed(job: Conversion) -> Path:
    """The file that is quantised and compiled."""
    return job.graph.onnx(_OPSET).with_stem(f"qnn-{job.precision}")


def _layers(
    operators: Sequence[Mapping[str, Any]], macs: Mapping[str, int], modules: ModuleNames
) -> tuple[Mapping[str, Any], ...]:
    """A row for each operator of the HTP."""
    left, rows = dict(macs), []
    for each in operators:
        name = _OF_PROVIDER.sub("", each["name"])
        nodes = {_OF_PROVIDER.sub("", node) for node in each["nodes"]}
        rows.append(
            {
                "name": name,
                "op": each["op"],
                "target": "HTP",
                "macs": sum(left.pop(node, 0) for node in sorted(nodes)),
                "cycles": None,
                "module": modules.find(name),
            }
        )
    return tuple(rows)


def _wide_concerns(network: onnx.ModelProto) -> tuple[Diagnostic, ...]:
    if all(node.op_type != "Log" for node in network.graph.node):
        return ()
    return (Diagnostic("logarithms of numbers above 1 come out wrong in 16 bits (-8 dB)"),)


def _weight_bytes(model: Path, precision: Precision) -> int:
    """Of all constants as the HTP has them: float16 halves what the file holds."""
    arrays = [onnx.numpy_helper.to_array(each) for each in onnx.load(model).graph.initializer]
    halved = np.dtype(np.float32) if precision == "float16" else None
    return sum(array.nbytes // (2 if array.dtype == halved else 1) for array in arrays)
