"""RKNN beyond the base tester: the build log's parser, several outputs, chips, errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.rknn.log import (
    RknnLogError,
    count_register_overflows,
    find_fallbacks,
    find_unknown_rows,
    parse_placement,
)
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target, list_targets
from edgeark.export.targets.base import Conversion, Precision
from edgeark.export.toolchains import ToolchainError
from support.rknn_cases import SPEC, make_graph
from support.target_base import installed_target
from torch import Tensor, nn
from torch.nn.functional import interpolate

# Recorded with 2.5.0 (rk3566, float16), rows and blanks taken out.
LOG = """\
I rknn building ...
D RKNN: [02:24:08.369] >>>>>> start: rknn::RKNNModelRegCmdbuildPass
D RKNN: [02:24:08.370] -----------------------------------------------------------------------
D RKNN: [02:24:08.370]          Network Layer Information Table
D RKNN: [02:24:08.370] -----------------------------------------------------------------------
D RKNN: [02:24:08.370] ID OpType DataType Target InputShape OutputShape Cycles(DDR/NPU/Total) \
RW(KB)       FullName
D RKNN: [02:24:08.370] -----------------------------------------------------------------------
D RKNN: [02:24:08.370] 0  InputOperator FLOAT16 CPU \\ (1,3,32,32) 0/0/0 0 InputOperator:input
D RKNN: [02:24:08.370] 1  ConvRelu FLOAT16 NPU (1,3,32,32),(16,3,3,3) (1,16,16,16) \
2357/4608/4608 7 Conv:a.1/Conv
D RKNN: [02:24:08.370] 2  ConvClip FLOAT16 NPU (1,16,16,16),(1,16,3,3) (1,16,16,16) \
2538/2304/2538 8 Conv:dw.1/Conv
D RKNN: [02:24:08.370] 4  Split FLOAT16 NPU (1,32,16,16) (1,8,16,16),... 0/0/0 16 Split:g.1/Conv
D RKNN: [02:24:08.370] 11 ConvTranspose FLOAT16 NPU (1,32,16,16),(32,16,2,2),(16) (1,16,32,32) \
8114/16384/16384 20 ConvTranspose:up/ConvTranspose
D RKNN: [02:24:08.370] 18 Concat FLOAT16 NPU (1,16,32,32),(1,16,32,32),... (1,80,32,32) 0/0/0 160 \
Concat:Concat
D RKNN: [02:24:08.370] 28 Resize FLOAT16 CPU (1,16,32,32),(1),(1),(4) (1,16,50,50) 0/0/0 32 \
Resize:Resize_2
D RKNN: [02:24:08.370] 32 Conv FLOAT16 NPU (1,1024,1,1),(10,1024,1,1),(10) (1,10,1,1) \
3442/2048/3442 22 Conv:lin/Gemm#2
D RKNN: [02:24:08.370] 33 Reshape FLOAT16 CPU (1,10,1,1),(2) (1,10) 0/0/0 0 Reshape:output2_rs
D RKNN: [02:24:08.370] 36 exMatMul FLOAT16 NPU (1,16,1,64),(1,16,1,24) (1,64,1,24) \
897/512/897 2 exMatMul:MatMul#1
D RKNN: [02:24:08.370] 41 OutputOperator FLOAT16 CPU (1,64,16) \\ 0/0/0 2 OutputOperator:output1
D RKNN: [02:24:08.370] -----------------------------------------------------------------------
D RKNN: [02:24:08.370] <<<<<<<< end: rknn::RKNNModelRegCmdbuildPass
D RKNN: [02:24:08.374] Const Tensor Information Table
D RKNN: [02:24:08.374] 1  ConvRelu a.0.weight  FLOAT16  (16,3,3,3) | 0x00000000 0x00000280 \
0x00000280
D RKNN: [02:24:08.374] 1  ConvRelu a.0.weight_bias_0 FLOAT (16) | 0x00008a00 0x00008a80 0x00000080
D RKNN: [02:24:08.374] 32 Conv lin.weight FLOAT16 (10,1024,1,1) | 0x00000280 0x00005280 0x00005000
D RKNN: [02:24:08.374] Total Internal Memory Size: 384KB
D RKNN: [02:24:08.374] Total Weight Memory Size: 37.9375KB
"""
FIRST_ROW, TABLE_END = "D RKNN: [02:24:08.370] 0  Input", "D RKNN: [02:24:08.370] <<<<"
SPARSE_ROW = """\
D RKNN: [02:31:01.003] 1  ConvRelu INT8 NPU (1,3,32,32),(8,3,3,3),(8) (1,8,16,16) 1072/2304/2304 \
0% 3 Conv:a/Conv
"""
OVERFLOW = """\
E RKNN: [02:26:07.198] REGTASK: The bit width of field value exceeds the limit, target: v2, \
offset: 0x1014, shift = 3, limit: 0x7, value: 0x1a
"""


def test_reads_the_layer_table() -> None:
    placement = parse_placement(LOG)
    assert placement.cpu_ops == ("Resize (Resize_2)", "Reshape (output2_rs)")
    assert placement.weights_bytes == 38848
    assert placement.activation_bytes == 384 * 1024
    assert placement.npu_mac_fraction == 1.0  # neither resize nor reshape multiplies
    macs = {row["name"]: row["macs"] for row in placement.layers if row["macs"]}
    assert macs == {
        "a.1/Conv": 16 * 3 * 3 * 3 * 16 * 16,
        "dw.1/Conv": 16 * 3 * 3 * 16 * 16,
        "up/ConvTranspose": 32 * 16 * 2 * 2 * 16 * 16,
        "lin/Gemm#2": 10 * 1024,
        "MatMul#1": 64 * 24 * 16,
    }
    assert len(placement.layers) == 9
    assert placement.layers[0] == {
        "name": "a.1/Conv",
        "op": "ConvRelu",
        "dtype": "FLOAT16",
        "target": "NPU",
        "macs": 110592,
        "cycles": 4608,
        "ddr_cycles": 2357,
        "npu_cycles": 4608,
        "weights_bytes": 0x280 + 0x80,
        "traffic_kib": 7,
    }
    assert sum(row["weights_bytes"] for row in placement.layers) == 0x280 + 0x80 + 0x5000


def test_a_convolution_on_the_cpu_lowers_the_share() -> None:
    moved = LOG.replace("32 Conv FLOAT16 NPU", "32 Conv FLOAT16 CPU")
    total = sum(row["macs"] for row in parse_placement(LOG).layers)
    assert parse_placement(moved).npu_mac_fraction == pytest.approx(1 - 10240 / total)


def test_the_last_table_counts() -> None:
    earlier = LOG.replace("a.1/Conv", "earlier").replace("384KB", "999KB")
    assert parse_placement(earlier + LOG) == parse_placement(LOG)


def test_knows_the_column_that_some_chips_add() -> None:
    """rk3576 and rv1126b print a sparse ratio."""
    row = next(line for line in LOG.splitlines() if "ConvRelu" in line)
    placement = parse_placement(LOG.replace(row + "\n", SPARSE_ROW))
    assert placement.layers[0]["macs"] == 8 * 3 * 3 * 3 * 16 * 16
    assert placement.layers[0]["cycles"] == 2304


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        ("", "no layer table"),
        ("E build: something", "no layer table"),
        (LOG[: LOG.index("18 Concat")], "ends inside"),
        (LOG.split("D RKNN: [02:24:08.374]", maxsplit=1)[0], "before the total"),
        (LOG.split(FIRST_ROW, maxsplit=1)[0] + LOG[LOG.index(TABLE_END) :], "empty"),
    ],
)
def test_a_log_that_it_does_not_know_is_an_error(log: str, complaint: str) -> None:
    with pytest.raises(RknnLogError, match=complaint):
        parse_placement(log)


@pytest.mark.parametrize(
    ("known", "unknown"),
    [("2357/4608/4608", "n/a"), ("(1,3,32,32),(16,3,3,3)", "(1,3,32,32),...")],
)
def test_an_unknown_row_is_named_and_no_end(known: str, unknown: str) -> None:
    log = LOG.replace(known, unknown)
    (row,) = find_unknown_rows(log)
    assert "a.1/Conv" in row and find_unknown_rows(LOG) == []
    assert len(parse_placement(log).layers) == len(parse_placement(LOG).layers) - 1


def test_the_toolkits_own_normalisation_has_no_name() -> None:
    """It stands in front of whatever reads the image and is no dense convolution."""
    row = (
        "D RKNN: [02:24:08.370] 1 Conv INT8 NPU (1,3,64,64),(3,3,1,1) (1,3,64,64) 3812/8192/8192 24"
    )
    first = next(line for line in LOG.splitlines() if "ConvRelu" in line)
    placement = parse_placement(LOG.replace(first, row))
    assert placement.layers[0]["name"] == "the toolkit's own"
    assert placement.layers[0]["macs"] == 9 * 64 * 64


def test_reads_what_the_compiler_says_of_fallbacks() -> None:
    said = "Transpose will fallback to CPU, because input shape has exceeded the max limit"
    log = f"W RKNN: [02:26:07.198] {said}\n" * 2 + "E RKNN: [02:26:07.198] Unkown op target: 0\n"
    assert find_fallbacks(log + LOG) == [said, "Unkown op target: 0"]
    assert find_fallbacks(LOG) == []


def test_counts_register_overflows() -> None:
    assert count_register_overflows(LOG) == 0
    assert count_register_overflows(2 * OVERFLOW + LOG + OVERFLOW) == 3


def test_mini_chips_take_int8_alone() -> None:
    targets = [find_target(name) for name in list_targets() if name.startswith("rknn:")]
    assert len(targets) == 10
    int8_only = [t.chip for t in targets if t.supported_precisions() == ("int8",)]
    assert int8_only == ["rv1103", "rv1106", "rv1103b", "rv1106b"]
    assert all(
        t.supported_precisions() == ("float16", "int8") for t in targets if t.chip not in int8_only
    )


class TwoHeads(nn.Module):
    """Three outputs, one of them the input of the other two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.small = nn.Conv2d(8, 6, 3, 2, 1)
        self.large = nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = self.stem(x).relu()
        return self.small(x), x, self.large(x)


class Bicubic(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return interpolate(x, scale_factor=2.0, mode="bicubic")


@pytest.fixture(scope="module")
def toolchain() -> None:
    """Install it first, so that a machine which cannot have it skips the tests that run it."""
    installed_target("rknn:rk3588")


needs_toolchain = pytest.mark.usefixtures("toolchain")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.txt"


@pytest.fixture
def images(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (16, 3, 16, 24), dtype=np.uint8)


@needs_toolchain
@pytest.mark.parametrize(
    ("chip", "precision", "sqnr_db"),
    [("rk3588", "float16", 40), ("rk3566", "int8", 25), ("rv1106", "int8", 25)],
)
def test_several_outputs_of_a_colour_image(
    chip: str,
    precision: Precision,
    sqnr_db: float,
    tmp_path: Path,
    log: Path,
    images: np.ndarray,
) -> None:
    """In the network's order, each channel with its own mean and deviation."""
    torch.manual_seed(0)
    graph, target = make_graph(TwoHeads(), tmp_path), find_target(f"rknn:{chip}")
    calibration = images if precision == "int8" else None
    artifact = target.convert(Conversion(graph, precision, tmp_path, log, calibration))
    result = target.run(artifact, images, log)
    assert [o.shape[1:] for o in result.outputs] == [(6, 4, 6), (8, 8, 12), (5, 8, 12)]
    assert compare(graph.reference(images), result.outputs).sqnr_db > sqnr_db
    placement = target.placement(artifact)
    assert placement is not None and placement.cpu_ops == ()
    assert sum(row["macs"] for row in placement.layers) == 20736 + 10368 + 3840
    assert all((tmp_path / name).exists() for name in artifact.sources)


class OffTheNpu(nn.Module):
    """A resize by a broken ratio, which no chip's NPU does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.enlarge = nn.Upsample(size=(17, 31), mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        return self.enlarge(self.stem(x))


@needs_toolchain
@pytest.mark.parametrize(("chip", "fatal"), [("rv1106", True), ("rk3588", False)])
def test_names_what_falls_to_the_cpu(
    chip: str, fatal: bool, tmp_path: Path, log: Path, images: np.ndarray
) -> None:
    """The mini chips' runtime has no kernel for it: the export fails; elsewhere it is warned of."""
    torch.manual_seed(0)
    target = find_target(f"rknn:{chip}")
    artifact = target.convert(
        Conversion(make_graph(OffTheNpu(), tmp_path), "int8", tmp_path, log, images)
    )
    placement = target.placement(artifact)
    assert placement is not None and len(placement.cpu_ops) == 1
    assert placement.cpu_ops[0].startswith("Resize (")
    assert placement.npu_mac_fraction == 1.0
    diagnostic, *others = artifact.diagnostics
    assert [other.words.partition(":")[0] for other in others] == ["the compiler says"]
    assert diagnostic.fatal is fatal
    assert diagnostic.words.startswith("Resize of enlarge (")
    assert "align_corners=False, by a whole factor" in diagnostic.words


@needs_toolchain
@pytest.mark.parametrize(
    ("chip", "model", "cause"),
    [
        ("rv1106", TwoHeads(), r"target_platform\(rv1106\) not support do_quantization = False"),
        ("rk3588", Bicubic(), "died with SIGSEGV .*bicubic"),
    ],
    ids=["a bad return value", "a crash"],
)
def test_a_refusal_is_one_error_that_names_the_cause(
    chip: str, model: nn.Module, cause: str, tmp_path: Path, log: Path
) -> None:
    job = Conversion(make_graph(model, tmp_path), "float16", tmp_path, log)
    with pytest.raises(ToolchainError, match=cause) as caught:
        find_target(f"rknn:{chip}").convert(job)
    assert caught.value.stage == "convert"
    assert caught.value.log == log
    assert "\n" not in str(caught.value)
    assert "rknn-toolkit2 version" in log.read_text(errors="replace")


@needs_toolchain
def test_an_exception_names_its_cause_not_its_traceback(tmp_path: Path, log: Path) -> None:
    """Here: a mean of two channels for a network that takes three."""
    graph = make_graph(TwoHeads(), tmp_path)
    graph.spec = replace(SPEC, mean=(0.0, 0.0), std=(1.0, 1.0))
    with pytest.raises(ToolchainError, match=r"RknnError: The len of mean_values .* is wrong"):
        find_target("rknn:rk3588").convert(Conversion(graph, "float16", tmp_path, log))
