"""``edgeark rewrite``: a file of the user's in, a folder that stands on its own out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeark.export.rewrite import rewrite, write_network
from edgeark.export.targets import find_targets
from safetensors.torch import load_file
from support.command import Run
from torch import nn

NET = """
import torch
from torch import nn
from torch.nn import functional as f

class Net(nn.Module):
    def __init__(self, mode="bicubic"):
        super().__init__()
        torch.manual_seed(3)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, padding_mode="circular"), nn.BatchNorm2d(8), nn.Mish(True)
        )
        self.pool = nn.MaxPool2d(3, 1, 1, dilation=2)
        self.mode = mode

    def forward(self, x):
        y = f.interpolate(self.pool(self.stem(x)), scale_factor=1.3, mode=self.mode)
        return {"map": y, "rows": [f.normalize(y), y.amax(1, True)]}

class Turned(nn.Module):
    def forward(self, x):
        return torch.atan2(x, x + 3)
"""
LOADED = """
import sys, torch
from torch.export import export
sys.path.insert(0, sys.argv[1])
import network
from safetensors.torch import save_file
assert "edgeark" not in sys.modules
answer = network.load()(torch.load(sys.argv[2])["x"])
torch.save({"map": answer["map"], "rows": answer["rows"]}, sys.argv[3])
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "my_net.py"
    file.write_text(NET)
    return file


TO = ("--to", "mnn,opencv", "--input-shape", "3x24x40")


def test_a_users_file_is_rewritten_and_loads_elsewhere(net: Path, run: Run) -> None:
    before = run("check", "my_net.py:Net", *TO, "--json")
    assert before.status == 1
    assert (
        {"stem.0", "pool"} < {f["module"] for f in before.json} <= {"stem.0", "stem.2", "pool", ""}
    )
    done = run("rewrite", "my_net.py:Net", *TO, "--out", "runs/rewritten", "--json")
    assert done.status == 0
    document = done.json
    assert set(document) == {"changes", "left", "max_abs_error", "out"}
    assert document["left"] == [] and document["out"] == "runs/rewritten"
    assert {"rule", "module", "source", "done"} == set(document["changes"][0])
    assert all(c["source"].startswith("my_net.py:") for c in document["changes"])
    assert run("check", "runs/rewritten/network.py:load", *TO, "--json").json == []
    assert sorted(p.name for p in Path("runs").iterdir()) == ["rewritten"]
    files = sorted(p.name for p in Path("runs/rewritten").iterdir() if p.is_file())
    assert files == ["network.py", "weights.safetensors"]

    module: dict[str, Any] = {}
    exec(NET, module)
    original, image = module["Net"]().eval(), torch.randn(1, 3, 24, 40)
    weights = load_file("runs/rewritten/weights.safetensors")
    for name, parameter in original.named_parameters():
        assert torch.equal(weights[name], parameter)
    torch.save({"x": image}, "x.pt")
    command = [sys.executable, "-c", LOADED, "runs/rewritten", "x.pt", "y.pt"]
    subprocess.run(command, check=True, cwd=net.parent)
    wanted, got = original(image), torch.load("y.pt")
    assert list(wanted) == list(got)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_left_is_said_and_the_status_is_1(net: Path, run: Run) -> None:
    done = run("rewrite", "my_net.py:Turned", *TO)
    assert done.status == 1 and "atan2" in done.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("my_net.py:Lost", *TO), "has no Lost"),
        (("my_net.py:Net", "--to", "nowhere", "--input-shape", "3x24x40"), "nowhere"),
        (("my_net.py:Net", *TO, "--out", "full"), "full is there already"),
        (("my_net.py:Net", *TO, "--out", "my_net.py"), "my_net.py is there already"),
        (("my_net.py:Net", *TO, "--out", "my_net.py/deeper"), "my_net.py"),
        (("my_net.py:Net", "--to", "mnn", "--input-shape", "4x24x40"), "is --input-shape right?"),
    ],
)
def test_bad_input_gets_one_line_and_2(
    net: Path, run: Run, arguments: Sequence[str], words: str
) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").write_text("kept")
    before = sorted(net.parent.iterdir())
    done = run("rewrite", *arguments)
    assert done.status == 2 and done.out == ""
    assert words in done.err and done.err.count("\n") == 1
    assert sorted(p for p in net.parent.iterdir() if p.name != "__pycache__") == before


def test_an_empty_folder_is_taken_and_a_failed_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = rewrite(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Mish()), (1, 3, 8, 8), find_targets("mnn"))
    out = tmp_path / "out"
    out.mkdir()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("edgeark.export.rewrite.writing.save_file", fail)
        with pytest.raises(OSError, match="No space"):
            write_network(done, out)
    assert list(tmp_path.iterdir()) == [out] and not list(out.iterdir())
    write_network(done, out)
    assert len(list(out.iterdir())) == 2
