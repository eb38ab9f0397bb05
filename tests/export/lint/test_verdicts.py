"""The line that ``edgeark check`` has for every target."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from edgeark import cli
from edgeark.export.check import Verdict, judge_source
from edgeark.export.lint import capture_network
from edgeark.export.lint.macs import count_macs
from edgeark.export.sources import InputOptions, open_source
from edgeark.export.targets import find_targets
from torch import Tensor, nn

MAPS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        x = self.stem(x)
        return {}
"""


@pytest.mark.parametrize(
    ("result", "target", "wanted"),
    [
        ("self.head(x)", "mnn", Verdict("mnn", "fits")),
        ("self.head(x.flip(3))", "opencv", Verdict("opencv", "fits after rewrite", 1)),
        ("torch.fmod(x, 2.0)", "mnn", Verdict("mnn", "does not fit", 1)),
        (
            "self.head(nn.functional.interpolate(x, scale_factor=2))",
            "executorch",
            Verdict("executorch", "falls back", 0, 1, 0.0),
        ),
    ],
)
def test_every_target_has_a_verdict(
    result: str, target: str, wanted: Verdict, tmp_path: Path
) -> None:
    file = tmp_path / "net.py"
    file.write_text(MAPS.format(result))
    source = open_source(f"{file}:Net", InputOptions(shapes="3x16x16"))
    _, verdicts = judge_source(source, find_targets(target))
    assert verdicts == [wanted]


def test_the_verdict_counts_what_falls_back_and_what_it_multiplies() -> None:
    verdict = Verdict("k210", "falls back", 0, 2, 0.125)
    assert verdict.describe() == "falls back: 2 operators, 12.5 % of the MACs"
    assert Verdict("k210", "does not fit", 1, 2, 0.0).describe() == (
        "does not fit: 1 error, 2 operators fall back, 0 % of the MACs"
    )
    assert Verdict("k210", "fits").describe() == "fits"


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.linear = nn.Linear(20, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.depthwise(self.conv(x)))
        return self.linear(x) @ torch.ones(7, 5)


def test_macs_are_those_of_the_layers() -> None:
    network = capture_network(Layers(), (1, 3, 6, 10))
    found = [count_macs(op) for op in network.ops if count_macs(op)]
    pixels = 6 * 10
    rows = 4 * 12
    assert found == [27 * 8 * pixels, 9 * 8 * pixels, 8 * 4 * 4 * pixels, rows * 140, rows * 35]


def test_the_command_is_readable_at_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "net.py").write_text(MAPS.format("torch.fmod(self.head(x.flip(3)), 2.0)"))
    monkeypatch.chdir(tmp_path)
    command = ["check", "net.py:Net", "--to", "mnn,opencv,openvino", "--input-shape", "3x16x16"]
    monkeypatch.setattr("sys.argv", ["edgeark", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    text = capsys.readouterr().out
    assert ended.value.code == 1
    assert max(map(len, text.splitlines())) <= 80
    assert "net.py:13" in text and str(tmp_path) not in text
    assert [line.split()[0] for line in text.splitlines()[-3:]] == ["mnn", "opencv", "openvino"]
    assert text.splitlines()[-1].split() == ["openvino", "fits"]
