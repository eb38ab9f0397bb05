"""The K210 by nncase beyond the base tester: placement, memory, what nncase cannot do."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from edgeark.export.backends.nncase import target as nncase
from edgeark.export.backends.nncase.report import (
    Memory,
    NncaseReportError,
    parse_placement,
    read_memory,
)
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_passes import count_macs
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, Evidence, Placement
from edgeark.export.toolchains import ToolchainError
from edgeark.zoo import create_model
from edgeark.zoo.spec import spec_of
from support.nncase_cases import (
    COLORS,
    SPEC,
    Between,
    TwoHeads,
    convert,
    make_images,
    set_batch_norm,
    sqnr_db,
)
from support.target_base import TargetTester, installed_target
from support.zoo_cases import MADE_FOR
from torch import Tensor, nn


class TestNncase(TargetTester):
    target = "k210-nncase"
    evidence = Evidence.SIMULATED
    precisions = ("int8",)
    npu = True

    def check_placement(self, placement: object) -> None:
        """``mnist`` is 5x5 convolutions, too large for the KPU but for its head."""
        assert isinstance(placement, Placement)
        fractions = [pytest.approx(share, rel=1e-3) for share in (1.0, 5_000 / 2_293_000)]
        assert placement.npu_mac_fraction in fractions
        assert placement.weights_bytes and placement.activation_bytes


@pytest.fixture(scope="module")
def toolchain() -> None:
    """Install it first, so that a machine which cannot have it skips the tests that run it."""
    installed_target("k210-nncase")


needs_toolchain = pytest.mark.usefixtures("toolchain")


MADE_FOR_IT = MADE_FOR["k210-nncase"]


@needs_toolchain
@pytest.mark.parametrize("name", MADE_FOR_IT)
def test_models_made_for_it_are_one_kpu_run(name: str, tmp_path: Path) -> None:
    """The KPU takes the raw image and does all but the pool; int8 costs what it costs elsewhere.

    The weights are random, and int8 hurts a random MobileNet much: ONNX Runtime's int8 is the
    measure. nncase is level with it there, and 2 to 4 dB below on ``vgg_kpu``.
    """
    torch.manual_seed(0)
    size = {"input_size": (128, 128)} if name.startswith("mobilenet") else {}
    model = create_model(name, **size)
    spec = spec_of(model)
    set_batch_norm(model, make_images(16, 3, spec))
    artifact, placement, graph = convert(model, tmp_path, spec)
    assert placement.npu_mac_fraction == 1.0
    head, pool = "Dequantize (/head/Conv(Conv)/dequantize)", "Reduce (/pool/AveragePool"
    assert placement.cpu_ops[0] == head and placement.cpu_ops[1].startswith(pool)
    assert len(placement.cpu_ops) == 2
    assert artifact.settings["kpu_memory_bytes"] < 2 * 2**20
    assert artifact.settings["main_memory_bytes"] < 3 * 2**20
    other = tmp_path / "other"
    other.mkdir()
    job = Conversion(graph, "int8", other, tmp_path / "log.txt", make_images(8, 1, spec))
    onnxruntime = find_target("onnxruntime").convert(job)
    assert sqnr_db(artifact, graph) > sqnr_db(onnxruntime, graph, "onnxruntime") - 5


@needs_toolchain
def test_several_outputs_of_a_colour_image(tmp_path: Path) -> None:
    """In the network's order, each channel with its own mean and deviation, and with padding."""
    torch.manual_seed(0)
    artifact, placement, graph = convert(TwoHeads(), tmp_path, COLORS)
    assert sqnr_db(artifact, graph) > 25
    macs = {row["name"]: row["macs"] for row in placement.layers if row["macs"]}
    assert macs == {
        "normalize(Conv)": 3 * 3 * 32 * 40,
        "/stem/Conv(Conv)": 8 * 3 * 9 * 16 * 20,
        "/body/Conv(Conv)": 8 * 8 * 9 * 16 * 20,
        "/deep/Conv(Conv)": 6 * 8 * 9 * 8 * 10,
    }
    assert placement.npu_mac_fraction == 1.0
    assert not any("norm" in name for name in placement.cpu_ops)


@needs_toolchain
def test_small_weights_keep_their_precision(tmp_path: Path) -> None:
    """nncase's weights have a smallest scale: 20 dB where the network takes 0..255, 36 in 0..1."""
    torch.manual_seed(0)
    artifact, _, graph = convert(nn.Conv2d(3, 8, 3, padding=1), tmp_path)
    assert sqnr_db(artifact, graph) > 32


@needs_toolchain
def test_memory_is_what_the_layers_take(tmp_path: Path) -> None:
    """A map of 32x40 pixels takes a row of 64 bytes a line and channel, or half one at 32 wide."""
    spec = replace(SPEC, input_size=(32, 32))
    artifact, placement, _ = convert(nn.Conv2d(3, 8, 3, padding=1), tmp_path, spec)
    kmodel = artifact.path.read_bytes()
    memory = read_memory(kmodel)
    rows = 32 * 2 + 32 * 4  # two channels side by side in a row
    constants = 8 * 3 * 9 + 8 * 8 + 144  # weights, normalisation, activation table
    working = 8 * 32 * 32  # what the KPU hands to the CPU
    assert memory.kpu == 64 * rows
    assert constants <= memory.constants <= constants + 256 + 128  # their alignments
    assert memory.main == 3 * 32 * 32 + 4 * 8 * 32 * 32 + working
    assert placement.weights_bytes == memory.constants
    assert placement.activation_bytes == memory.main + memory.kpu
    for size in (0, 31, 100, len(kmodel) // 2):
        with pytest.raises(NncaseReportError):
            read_memory(kmodel[:size])
    with pytest.raises(NncaseReportError, match="version 5 was expected"):
        read_memory(kmodel[:4] + b"\x04" + kmodel[5:])


@needs_toolchain
@pytest.mark.parametrize(
    ("middle", "cause"),
    [
        (nn.ConvTranspose2d(8, 8, 2, 2), r"Emitter for .*Conv2DTranspose.*cannot compute this"),
        (nn.GELU(), "Unsupported unary op for nnil: unary_erf"),
    ],
    ids=["transposed convolution", "GELU"],
)
def test_what_it_cannot_do_is_one_error(middle: nn.Module, cause: str, tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=cause) as caught:
        convert(Between(middle), tmp_path)
    assert caught.value.stage == "convert"
    assert caught.value.log == tmp_path / "log.txt"
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model.kmodel").exists()


class Sized(nn.Module):
    """Sizes that the ONNX file of opset 11 computes: of a resize, and of a flattened map."""

    def forward(self, x: Tensor) -> Tensor:
        gate = x.flatten(2).mean(-1).view(x.shape[0], x.shape[1], 1, 1)
        small = nn.functional.max_pool2d(x, 2)
        return nn.functional.interpolate(small, size=x.shape[-2:]) * gate


@needs_toolchain
@pytest.mark.parametrize("middle", [Sized(), nn.Upsample(size=(33, 45))], ids=["sizes", "a size"])
def test_sizes_are_computed_before_nncase_reads_them(middle: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    artifact, _, graph = convert(Between(middle).eval(), tmp_path)
    assert sqnr_db(artifact, graph) > 20


@needs_toolchain
def test_names_what_falls_to_the_cpu(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nncase, "MAIN_BYTES", 10_000)
    with caplog.at_level(logging.WARNING):
        _, placement, _ = convert(Between(nn.Conv2d(8, 8, 5, padding=2)), tmp_path)
    assert "of the chip's" in caplog.text
    on_cpu, macs = 8 * 8 * 25, 8 * 3 * 9 + 8 * 8 * 25 + 4 * 8 * 9
    assert placement.npu_mac_fraction == pytest.approx(1 - on_cpu / macs)
    assert "Conv2D (/middle/Conv(Conv))" in placement.cpu_ops


def test_a_slow_network_gets_fewer_images(monkeypatch: pytest.MonkeyPatch) -> None:
    target = find_target("k210-nncase")
    artifact = Artifact("k210-nncase", "int8", Path(), ())
    for macs, count in ((7_366_656, 67_873), (171_700_000, 2_912)):
        placement = Placement(1.0, (), 0, 0, ({"macs": macs}, {"macs": 0}))
        monkeypatch.setattr(target, "placement", lambda _, found=placement: found)
        assert target.max_images(artifact) == count


def write_graph(folder: Path, model: nn.Module) -> onnx.ModelProto:
    return onnx.load(Graph(model, SPEC, folder).onnx(11))


def test_counts_macs(tmp_path: Path) -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.ConvTranspose2d(8, 4, 2, 2),
        nn.Flatten(),
        nn.Linear(4 * 32 * 40, 7),
    )
    assert list(count_macs(write_graph(tmp_path, layers)).values()) == [
        8 * 3 * 9 * 16 * 20,
        8 * 9 * 16 * 20,
        8 * 4 * 4 * 16 * 20,
        4 * 32 * 40 * 7,
    ]


KMODEL = b"LDMK" + bytes([5, 0, 0, 0, 32]) + bytes(23)


def test_reads_the_listings(tmp_path: Path) -> None:
    macs = count_macs(write_graph(tmp_path, Between(nn.Conv2d(8, 8, 5, padding=2))))
    operators = {
        "main": "[Call] k210_0\n[Conv2D] /middle/Conv(Conv)\n[Quantize] \n[Call] k210_1\n",
        "k210_0": "[KPUUpload] x\n[KPUConv2D] /first/Conv(Conv)\n[KPUDownload] \n",
        "k210_1": "[KPUUpload] \n[KPUConv2D] /second/Conv(Conv)\n[KPUDownload] \n",
    }
    placement, memory = parse_placement(operators, KMODEL, macs)
    assert memory == Memory(0, 0, 0)
    assert [(row["op"], row["target"]) for row in placement.layers] == [
        ("KPUConv2D", "KPU"),
        ("Conv2D", "CPU"),
        ("Quantize", "CPU"),
        ("KPUConv2D", "KPU"),
    ]
    for broken, complaint in (
        ({}, "listed no operators"),
        ({"main": operators["main"]}, "no operators of k210_0"),
        ({"main": "what is this"}, "unknown line .*'what is this'"),
    ):
        with pytest.raises(NncaseReportError, match=complaint):
            parse_placement(broken, KMODEL, macs)
