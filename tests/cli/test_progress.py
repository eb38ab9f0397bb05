"""What a command says while it makes its rows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from edgeark.cli import progress
from edgeark.cli.progress import RowProgress
from edgeark.export.results.schema import ExportResult
from rich.console import Console
from support.command import Run

ROW = ExportResult(
    model="a_network_with_a_long_name", target="rknn:rk3588", precision="int8", status="ok"
)


def test_the_bar_is_whole_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(progress, "err", screen)
    shown = RowProgress()
    shown.row(ROW, 12)
    shown.step(f"{ROW.model} to rknn:rk3588 float16: running 256 samples, and so on and on")
    screen.print(shown.bar.get_renderable())
    (line,) = screen.file.getvalue().splitlines()
    assert len(line) == 80 and " 1/12" in line and "to rknn:rk3588" in line and "…" in line


def test_a_pipe_gets_a_line_a_row(tmp_path: Path, run: Run) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Conv2d(3, 4, 3)\n"
    )
    words = ("--input-shape", "3x8x8", "--to", "onnxruntime,torchscript", "--out", tmp_path / "out")
    done = run("export", f"{tmp_path / 'net.py'}:net", *words)
    assert done.status == 0, done.err
    assert done.err.splitlines() == [
        "1/2 net onnxruntime float32: ok",
        "2/2 net torchscript float32: ok",
    ]
