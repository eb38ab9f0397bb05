"""The demo: what it announces, and that its report is written whatever happens."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeark.errors import DataError
from edgeark.export import demo
from edgeark.export.graph.files import Graph
from edgeark.export.prepare import EvalContext
from edgeark.export.report import render
from edgeark.export.toolchains import Toolchain
from support.report_fakes import (
    SPEC,
    BrokenTarget,
    FakeTarget,
    Tables,
    make_subject,
)
from torch import nn


def plan(monkeypatch: pytest.MonkeyPatch, installed: set[str], mnist: Path | None) -> None:
    """Three targets on two toolchains of 30 and 200 MB, of which some are installed."""
    chains = [Toolchain(name, (), Path(), ">=3.10", size) for name, size in (("x", 30), ("y", 200))]
    needed = (None, chains[0], chains[1], chains[1])
    targets = [type("Fake", (FakeTarget,), {"toolchain": chain})() for chain in needed]
    monkeypatch.setattr(demo, "find_targets", lambda names: targets)
    monkeypatch.setattr(Toolchain, "is_installed", lambda self: self.name in installed)
    monkeypatch.setattr(demo, "find_dataset", lambda name, marker, data: mnist)
    monkeypatch.delenv("EDGEARK_OFFLINE", raising=False)


def test_announce_adds_up_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan(monkeypatch, set(), None)
    download, data = demo.announce(None)
    assert "x 30 MB, y 200 MB, MNIST 12 MB; 242 MB in all" in download
    assert "will be downloaded (about 12 MB)" in data
    plan(monkeypatch, {"y"}, Path("digits"))
    assert "download: x 30 MB; 30 MB in all" in demo.announce(None)[0]


def test_announce_says_nothing_when_all_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    plan(monkeypatch, {"x", "y"}, Path("digits"))
    assert demo.announce(None) == ["download: nothing", "data: MNIST in digits"]


def test_announce_offline_names_what_will_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan(monkeypatch, {"x"}, None)
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    download, data = demo.announce(None)
    assert "nothing (offline)" in download and download.endswith("unavailable: y")
    assert "MB" not in download and "scikit-learn's digits" in data
    plan(monkeypatch, {"x", "y"}, None)
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    assert "every toolchain is installed" in demo.announce(None)[0]


def test_announce_finds_an_earlier_download(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    look = demo.find_dataset
    plan(monkeypatch, {"x", "y"}, None)
    monkeypatch.setattr(demo, "find_dataset", look)
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path))
    monkeypatch.delenv("EDGEARK_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    raw = tmp_path / "data" / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "train-images-idx3-ubyte").touch()
    assert "will be downloaded" in demo.announce(None)[1]
    (raw / "t10k-images-idx3-ubyte.gz").touch()
    assert demo.announce(None)[1] == f"data: MNIST in {raw}"
    assert demo.announce(raw)[1] == f"data: MNIST in {raw}"
    with pytest.raises(DataError, match="no mnist"):  # a typing mistake, not another data set
        demo.announce(tmp_path / "typo")


def test_demo_writes_its_report_even_if_a_target_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    network = nn.Sequential(nn.Conv2d(3, 3, (4, 5)))
    targets = [BrokenTarget(), FakeTarget()]

    def prepare(model: str, folder: Path, *, data: Path | None, limit: int | None) -> EvalContext:
        assert folder.is_dir() and limit == 4
        return make_subject(model, Graph(network, SPEC, folder))

    monkeypatch.setattr(demo, "prepare", prepare)
    monkeypatch.setattr(demo, "find_targets", lambda names: targets)
    monkeypatch.setattr(render, "find_target", lambda name: FakeTarget())
    steps: list[str] = []
    result = demo.run_demo(tmp_path / "demo", limit=4, on_step=steps.append)
    assert [(r.model, r.target, r.precision, r.status) for r in result.rows] == [
        (model, target, precision, status)
        for model in demo.DEMO_MODELS
        for target, precision, status in (
            ("bad", "float32", "error"),
            ("good", "float32", "ok"),
            ("good", "int8", "ok"),
        )
    ]
    assert len({step.partition(":")[0] for step in steps}) == 2 + 6
    page = result.report.read_text(encoding="utf-8")
    assert "the converter gave up" in page
    names = [row[0] for row in Tables(page).tables[0] if len(row) > 1]
    assert names == ["target", "bad float32", "good float32", "good int8"]
    assert (tmp_path / "demo/mnist_kpu/good/int8/manifest.json").is_file()
