"""``edgeark verify``: exports that come back, whole or not."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.results.manifest import ManifestError, read_manifest
from edgeark.export.verify import find_exports, reopen, verify_export
from support.command import Run
from support.exports import export


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("unet_8", tmp_path_factory.mktemp("written"))[1]


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy in another place, as a board engineer has it."""
    return shutil.copytree(written, tmp_path / "here" / "float32")


def test_it_answers_as_it_did(folder: Path, run: Run) -> None:
    done = run("verify", folder.parent, "--json")
    assert done.status == 0
    (row,) = done.json
    assert list(row) == [
        *("model", "target", "precision", "status", "evidence", "max_abs_error", "sqnr_db"),
        *("folder", "repeat_error", "log", "message"),
    ]
    assert (row["status"], row["evidence"], row["target"]) == ("ok", "executed", "onnxruntime")
    assert row["sqnr_db"] > 75 and row["repeat_error"] < 1e-6
    assert "executed" in run("verify", folder).out


def change(folder: Path, **fields: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def other_answers(folder: Path) -> None:
    with np.load(folder / "golden.npz") as file:
        arrays = {name: file[name] + (name == "output0") for name in file.files}
    np.savez(folder / "golden.npz", allow_pickle=False, **arrays)


def cut_file(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def no_answers(folder: Path) -> None:
    with np.load(folder / "golden.npz") as file:
        arrays = {name: file[name] for name in file.files if name != "output0"}
    np.savez(folder / "golden.npz", allow_pickle=False, **arrays)


@pytest.mark.parametrize(
    ("spoil", "status", "message"),
    [
        (cut_file, "failed", "not the files that manifest.json describes: model.onnx"),
        (lambda folder: (folder / "model.onnx").unlink(), "failed", "not the files that"),
        (other_answers, "failed", "it answered otherwise when it was written: by 1.00e"),
        (no_answers, "ok", "nothing had run it before"),
        (lambda folder: (folder / "golden.npz").unlink(), "error", "cannot read .*golden.npz"),
        (lambda f: (f / "golden.npz").write_bytes(b"PK"), "error", "cannot read .*golden.npz"),
        (lambda f: np.savez(f / "golden.npz", x=np.zeros(1)), "error", "cannot read .*golden.npz"),
        (lambda f: change(f, settings={}), "error", "manifest.json: settings have no 'mean'"),
    ],
)  # fmt: skip
def test_what_has_changed_is_said(
    spoil: Callable[[Path], object], status: str, message: str, folder: Path, run: Run
) -> None:
    spoil(folder)
    done = run("verify", folder, "--json")
    (row,) = done.json
    assert row["status"] == status and done.status == (0 if status == "ok" else 1)
    assert row["evidence"] == ("executed" if status == "ok" or "otherwise" in message else None)
    assert re.search(message, row["message"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "none"}, "manifest.json: unknown target 'none'"),
        ({"files": []}, "manifest.json names no file"),
        ({"files": [{"name": "../model.onnx", "sha256": ""}]}, "files.0.name: .*in the export's"),
        ({"files": [{"name": "/etc/passwd", "sha256": ""}]}, "files.0.name: .*in the export's"),
        ({"golden": {"file": "../golden.npz"}}, "golden.file: .*in the export's folder"),
        ({"precision": "int4"}, "manifest.json: precision: "),
    ],
)
def test_a_bad_manifest_is_one_line(
    fields: dict[str, Any], message: str, folder: Path, run: Run
) -> None:
    change(folder, **fields)
    with pytest.raises(ManifestError, match=message):
        reopen(folder)
    done = run("verify", folder)
    assert done.status == 2 and not done.out and done.err.startswith("error: ")


def test_what_is_no_export_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "none"):
        with pytest.raises(ManifestError, match=r"no manifest.json in|there is no"):
            find_exports(path)
    with pytest.raises(ManifestError, match=r"manifest.json says nothing of golden.npz"):
        reopen(folder / "golden.npz")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ManifestError, match=r"manifest.json: "):
        read_manifest(folder)


def test_where_nothing_runs_it_its_files_are_compared(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxRuntime, "run", lambda *_: None)
    row = verify_export(reopen(folder))
    assert row.status == "ok" and row.evidence is None
    assert row.message == "the files are whole; nothing here runs onnxruntime"
    cut_file(folder)
    assert verify_export(reopen(folder)).status == "failed"
