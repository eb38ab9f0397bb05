"""Sophgo's TPUs: the command, every output, what runs where, and how ranges are chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.sophgo.report import MlirTextError, parse_placement
from edgeark.export.graph.files import Graph
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext, prepare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Evidence, Precision, Quantization
from edgeark.export.toolchains import ToolchainError
from edgeark.export.verify import reopen, verify_export
from support.settled import SPEC, Heads, make_images, prove, settle
from support.target_base import installed_target
from torch import Tensor, nn

COUNT = 40  # test images: a simulator takes up to 0.2 s for each


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    return prepare("mnist_kpu", tmp_path_factory.mktemp("digits"), limit=COUNT)


@pytest.mark.parametrize(
    ("name", "precision"),
    [("cvitek:cv181x", "float16"), ("cvitek:cv181x", "int8"), ("sophgo:bm1688", "int8")],
)
def test_a_trained_network_is_proven_and_its_folder_is_enough(
    name: str, precision: Precision, digits: EvalContext, tmp_path: Path
) -> None:
    row = export_one(digits, installed_target(name), precision, tmp_path / "out")
    assert row.status == "ok" and row.artifact is not None, row.message
    assert row.evidence == Evidence.SIMULATED.value
    assert row.metric is not None and row.metric.value > 0.9 and row.metric.n == COUNT
    placement = row.placement
    assert placement is not None and placement.npu_mac_fraction == 1.0 and placement.cpu_ops == ()
    layers = {row["module"]: row["macs"] for row in placement.layers if row["macs"]}
    layers.pop("", None)  # the normalisation, where it is a convolution
    assert layers["features.0.conv"] == 16 * 9 * 28 * 28 and len(layers) == 7
    assert placement.memory["device memory"]["used"] >= placement.weights_bytes > 60_000
    elsewhere = row.artifact.parent.rename(tmp_path / "elsewhere")
    again = verify_export(reopen(elsewhere))
    assert again.status == "ok" and again.repeat_error == 0, again.message


def test_precisions_are_those_that_the_chips_compute_in() -> None:
    for chip in ("cv180x", "cv181x", "cv183x", "cv184x"):
        assert find_target(f"cvitek:{chip}").supported_precisions() == ("float16", "int8")
    for chip in ("bm1684x", "bm1688"):
        assert find_target(f"sophgo:{chip}").supported_precisions()[0] == "float32"


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("cvitek:cv181x", "float16"),
        ("cvitek:cv180x", "int8"),
        ("cvitek:cv184x", "int8"),
        ("sophgo:bm1688", "float32"),
        ("sophgo:bm1684x", "int8"),
    ],
)
def test_outputs_are_pytorchs_in_its_order(name: str, precision: Precision, tmp_path: Path) -> None:
    """With a mean and a deviation of each channel's own, by which the file normalises."""
    torch.manual_seed(0)
    prove(installed_target(name), settle(Heads(), SPEC, tmp_path), precision, tmp_path)


class Left(nn.Module):
    """A convolution, the largest values of its map, and a convolution of these."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.before(x).topk(4, 1).values)


def test_what_runs_on_the_cpu_is_in_the_row(tmp_path: Path) -> None:
    target = installed_target("cvitek:cv181x")
    torch.manual_seed(0)
    artifact, _ = prove(target, settle(Left(), SPEC, tmp_path), "int8", tmp_path)
    placement = target.placement(artifact)
    assert placement is not None and placement.npu_mac_fraction == 1.0
    assert len(placement.cpu_ops) == 1 and placement.cpu_ops[0].startswith("topk (")
    macs = {row["module"]: row["macs"] for row in placement.layers}
    assert macs["before"] == 3 * 9 * 8 * 12 * 20 and macs["behind"] == 4 * 5 * 12 * 20


class Spiked(nn.Module):
    """Small values, and one output channel in which few pixels are a thousand times as large."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.last(x + 40 * torch.relu(x - 2.6))


def test_ranges_are_chosen_as_asked(tmp_path: Path) -> None:
    """The table has what was seen; the least error clips what is rare."""
    target = installed_target("cvitek:cv181x")
    torch.manual_seed(0)
    graph = settle(Spiked(), SPEC, tmp_path)
    images = make_images(16, SPEC.input_shape[1:], seed=1)
    peaks = {}
    for algorithm in target.algorithms:
        (out := tmp_path / algorithm).mkdir()
        quantization = Quantization(algorithm=algorithm)
        job = Conversion(graph, "int8", out, out / "log.txt", images, quantization)
        artifact = target.convert(job)
        lines = (out / "source/calibration_table").read_text().splitlines()[1:]
        table = {line.split()[0]: [float(v) for v in line.split()[1:]] for line in lines}
        peaks[algorithm] = table["input"][0], max(row[0] for row in table.values())
        assert artifact.settings["algorithm"] == algorithm
        assert all(-t <= low <= high <= t for t, low, high in table.values())
    values = (images - np.reshape(SPEC.mean, (1, 3, 1, 1))) / np.reshape(SPEC.std, (1, 3, 1, 1))
    assert peaks["minmax"][0] == pytest.approx(float(np.abs(values).max()), rel=1e-4)
    assert peaks["mse"][1] < peaks["minmax"][1] and peaks["percentile"][1] < peaks["minmax"][1]


def write_operator(op: str, attributes: str, inputs: str, output: str, place: int) -> str:
    """A line as the compiler writes it; of a shape that is no number there is no tensor."""
    types = ", ".join(f"tensor<{i}xi8, 7 : i64>" if i[0].isdigit() else i for i in inputs.split())
    result = f"tensor<{output}x!quant.uniform<i8:f32, 0.5>, 12 : i64>"
    return f'  %2 = "tpu.{op}"(%1, %3) {{{attributes}}} : ({types}) -> {result} loc(#loc{place})'


def write_function(number: int, mode: str, *lines: str) -> str:
    """A part of the network."""
    head = f"func.func @subfunc_{number}(%arg0: tensor<1x3x8x8xui8>) -> tensor<1x4x4x4xf32>"
    head += f" attributes {{id = {number} : i64, mode = #tpu<run_mode {mode}>, next_index = 1}} {{"
    return "\n".join((head, *lines, "} loc(#loc)"))


TEXT = "\n".join(
    (
        '#loc1 = loc("a/Conv_output_0_Conv")',
        "module @model attributes {module.coeff_size = 100 : i64, module.neuron_size = 30 : i64} {",
        write_function(
            *(0, "TPU_STATIC"),
            write_operator("Cast", "", "1x3x8x8", "1x3x8x8", 3),
            write_operator(
                "Conv2D", "group = 1 : i64, kernel_shape = [3, 3]", "1x3x8x8 none", "1x4x4x4", 1
            ),
            write_operator(
                "Deconv", "group = 2 : i64, kernel_shape = [2, 2]", "1x4x4x4 none", "1x6x8x8", 2
            ),
        ),
        write_function(
            *(1, "CPU"),
            write_operator("GenericCpu", 'cpu_op_name = "topk"', "1x6x8x8", "1x6x8x7", 3),
            write_operator("MatMul", "", "1x6x8x7 7x5", "1x6x8x5", 4),
        ),
        '#loc2 = loc("up_ConvTranspose")',
        '#loc3 = loc("top")',
        "#loc4 = loc(fused[#loc2, #loc3])",
    )
)


def test_the_compiled_text_says_places_macs_and_memory() -> None:
    modules = {"a/Conv_output_0_Conv": "a", "up_ConvTranspose": "up"}
    placement = parse_placement(TEXT, lambda name: modules.get(name, ""))
    rows = [(row["op"], row["target"], row["module"], row["macs"]) for row in placement.layers]
    assert rows == [
        ("Conv2D", "TPU", "a", 4 * 4 * 4 * 9 * 3),
        ("Deconv", "TPU", "up", 4 * 4 * 4 * 4 * 6 // 2),
        ("topk", "CPU", "", 0),
        ("MatMul", "CPU", "up", 6 * 8 * 5 * 7),
    ]
    assert placement.cpu_ops == ("topk (top)", "MatMul (up_ConvTranspose)")
    on_tpu = 4 * 4 * 4 * 9 * 3 + 4 * 4 * 4 * 4 * 6 // 2
    assert placement.npu_mac_fraction == on_tpu / (on_tpu + 6 * 8 * 5 * 7)
    assert (placement.weights_bytes, placement.activation_bytes) == (100, 30)
    with pytest.raises(MlirTextError, match="no operators"):
        parse_placement("module {}", str)


def test_a_refusal_is_the_compilers_own_reason(tmp_path: Path) -> None:
    target = installed_target("cvitek:cv181x")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SELU())
    job = Conversion(Graph(network, SPEC, tmp_path), "float16", tmp_path, tmp_path / "log.txt")
    with pytest.raises(ToolchainError, match=r"Op not support.*Selu"):
        target.convert(job)
