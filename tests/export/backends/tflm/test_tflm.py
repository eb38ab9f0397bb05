"""TensorFlow Lite Micro: answers, exact memory, boards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.backends.tflm.boards import BOARDS, judge
from edgeark.export.backends.tflm.memory import peak_bytes, weight_bytes
from edgeark.export.backends.tflm.target import Tflm
from edgeark.export.lint import capture_network
from edgeark.export.targets import TargetError, find_target, find_targets, list_targets
from edgeark.export.targets.base import Artifact, Precision
from edgeark.export.toolchains import ToolchainError
from support.settled import SPEC, Heads, make_images, prove, settle
from support.target_base import installed_target
from torch import Tensor, nn


class Wide(nn.Module):
    """Weights of 150 KB, which ai-edge-quantizer puts behind the model, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 64, 3, 2, 1), nn.BatchNorm2d(64), nn.ReLU())
        self.mid = nn.Sequential(nn.Conv2d(64, 192, 3, 2, 1), nn.BatchNorm2d(192), nn.ReLU())
        self.up, self.head = nn.Upsample(scale_factor=2), nn.Conv2d(256, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.cat([x, self.up(self.mid(x))], 1))


def proven(
    network: nn.Module, precision: Precision, folder: Path, chip: str | None = None
) -> tuple[Tflm, Artifact]:
    torch.manual_seed(0)
    target = installed_target(f"tflm:{chip}" if chip else "tflm")
    assert isinstance(target, Tflm)
    graph = settle(network, SPEC, folder)
    artifact, _ = prove(target, graph, precision, folder)
    return target, artifact


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_outputs_are_pytorchs_in_its_order_and_the_arena_is_exact(
    precision: Precision, tmp_path: Path
) -> None:
    target, artifact = proven(Heads(), precision, tmp_path)
    settings = artifact.settings
    images = make_images(2, SPEC.input_shape[1:], seed=3)
    arena = settings["arena_bytes"]
    assert 0 < settings["head_bytes"] < arena
    log = tmp_path / "log.txt"
    answers = target.run(artifact, images, log).outputs
    for size, fits in ((arena, True), (arena - 1, False)):
        other = replace(artifact, settings={**settings, "arena_bytes": size})
        if fits:
            again = target.run(other, images, log).outputs
            assert all(map(np.array_equal, again, answers))
        else:
            with pytest.raises(ToolchainError, match="Failed to"):
                target.run(other, images, log)


def test_weights_are_in_the_file_and_its_figures_are_in_the_row(tmp_path: Path) -> None:
    """Weights that lie behind the model would be zeros, and take the arena's memory."""
    target, artifact = proven(Wide(), "int8", tmp_path, "stm32f7")
    settings = artifact.settings
    network = capture_network(Wide(), SPEC.input_shape)
    assert settings["weights_bytes"] > weight_bytes(network) == 3 * 9 * 64 + 64 * 9 * 192 + 1024
    peak, op = peak_bytes(network)
    assert op is not None and op.kind == "cat" and peak == 2 * 256 * 12 * 20
    assert peak <= settings["head_bytes"] < 1.5 * peak
    placement = target.placement(artifact)
    assert placement.npu_mac_fraction is None and placement.cpu_ops == ()
    assert placement.activation_bytes == settings["arena_bytes"]
    size = artifact.path.stat().st_size
    assert placement.memory == {
        "RAM": {"used": settings["arena_bytes"], "limit": 320 * 1024},
        "flash": {"used": size, "limit": 1024 * 1024},
    }
    assert {"CONV_2D", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR"} <= {*settings["operators"]}
    assert len({*settings["operators"]}) == len(settings["operators"])
    assert artifact.diagnostics == ()
    free = find_target("tflm").placement(artifact)
    assert free is not None and "limit" not in free.memory["RAM"]


def test_a_board_says_by_how_many_bytes_it_is_too_small() -> None:
    board = BOARDS["rp2040"]
    assert (board.ram, board.flash) == (270_336, 2_097_152)
    assert judge(None, 10**9, 10**9) == judge(board, board.ram // 2, board.flash // 2) == ()
    (ram,) = judge(board, board.ram + 1, 1000)
    assert ram.fatal and "1 more than the 270,336 bytes of RAM on rp2040" in ram.words
    (flash,) = judge(board, 1000, board.flash + 2048)
    assert flash.fatal and "2,048 more than the 2,097,152 bytes of flash" in flash.words
    (tight,) = judge(board, board.ram - 100, 1000)
    assert not tight.fatal and "leaves the firmware 100 bytes of RAM" in tight.words
    assert len(judge(board, board.ram + 1, board.flash + 1)) == 2


def test_boards_are_chips_of_a_family_that_is_a_target_itself() -> None:
    names = [name for name in list_targets() if name.startswith("tflm")]
    assert names == ["tflm", *(f"tflm:{chip}" for chip in BOARDS)]
    assert find_target("tflm").full_name == "tflm"
    assert [t.full_name for t in find_targets("tflm:all")] == names[1:]
    assert "tflm" in {t.full_name for t in find_targets("mcu", lambda _: True)}
    with pytest.raises(TargetError, match="its chips are rp2040"):
        find_target("tflm:pico9")
    assert all(board.source and board.ram and board.flash for board in BOARDS.values())


class Reused(nn.Module):
    """Two convolutions of one map that lives on; SiLU, which is two operators."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        left, right = self.b(x).chunk(2, 1)
        return self.act(x) + torch.cat([right, left], 1).flatten(2).view_as(x)


def test_maps_live_until_they_are_read_for_the_last_time() -> None:
    network = capture_network(Reused(), (1, 3, 10, 10))
    peak, op = peak_bytes(network)
    assert peak == 4 * 800 and op is not None and op.kind == "silu"
    assert weight_bytes(network) == 3 * 8 + 64
