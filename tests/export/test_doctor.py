"""The doctor tells what is there from what is not, and what to do; it changes nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from edgeark.export import doctor
from support.command import Run


def test_a_machine_without_toolchains_is_well(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDGEARK_DATA", raising=False)
    done = run("doctor", "--json")
    found = {check["name"]: check for check in done.json}
    assert done.status == 0 and found["cache"]["found"] == str(tmp_path / "cache")
    assert found["weights"]["health"] == "ok" and "torch 2" in found["packages"]["found"]
    assert "not installed" in found["mnn"]["found"] and "MB to fetch" in found["rknn"]["found"]
    assert not (tmp_path / "cache" / "toolchains").exists()
    monkeypatch.setenv("EDGEARK_OFFLINE", "1")
    by_name = {check.name: check for check in doctor.examine()}
    assert by_name["network"].health == by_name["mnn"].health == "note"


def test_what_stops_something_is_a_problem(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("EDGEARK_DATA", str(tmp_path / "lost"))
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "SHA256SUMS").write_text(f"{'0' * 64}  mnist.safetensors\n")
    monkeypatch.setattr(doctor, "WEIGHTS_DIR", weights)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30))
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    done = run("doctor")
    assert done.status == 1
    lines = [line.split() for line in done.out.splitlines()]
    health = {words[1]: words[0] for words in lines if words[0] in ("ok", "note", "problem")}
    wanted = {"cache": "problem", "data": "problem", "weights": "problem"}
    wanted |= {"disk": "note", "cmake": "note", "packages": "ok"}
    assert {name: health[name] for name in wanted} == wanted
    assert "$EDGEARK_CACHE" in done.out and "mnist.safetensors" in done.out
