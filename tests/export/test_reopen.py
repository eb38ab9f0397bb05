"""``edgeark verify``: exports that come back, whole or not."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import zipfile
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


def sign(folder: Path) -> None:
    """The digest of the golden vectors as they are now: whoever makes a folder writes it too."""
    golden = json.loads((folder / "manifest.json").read_text())["golden"]
    path = folder / "golden.npz"
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "0" * 64
    change(folder, golden={**golden, "sha256": digest})


def spoil_golden(spoil: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    """Golden vectors that something was done to, and their digest."""

    def write(folder: Path) -> None:
        with np.load(folder / "golden.npz") as file:
            arrays = {name: file[name].copy() for name in file.files}
        spoil(arrays)
        np.savez(folder / "golden.npz", allow_pickle=False, **arrays)
        sign(folder)

    return write


def undefined(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays[name].flat[0] = np.nan

    return spoil


def repeat(arrays: dict[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        arrays[name] = np.concatenate([array] * 5)


def promise_much(folder: Path) -> None:
    """A header of more numbers than any memory holds, and none of them."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (2, 3, 10**6, 10**6)}
    path = folder / "golden.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("output0.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(64))
    sign(folder)


def cut_file(folder: Path) -> None:
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("spoil", "status", "message"),
    [
        (cut_file, "failed", "not the files that manifest.json describes: model.onnx"),
        (lambda folder: (folder / "model.onnx").unlink(), "failed", "not the files that"),
        (lambda f: np.savez(f / "golden.npz", x=np.zeros(1)), "failed", "not the files"),
        (spoil_golden(lambda a: np.add(a["output0"], 1, a["output0"])), "failed",
         "it answered otherwise when it was written: by 1.00e"),
        (spoil_golden(lambda a: a.pop("output0")), "error", "the export has 0 answers to 2 inputs"),
        (spoil_golden(lambda a: a.pop("pytorch0")), "error", "PyTorch has 0 answers to 2 inputs"),
        (spoil_golden(lambda a: a.update(output1=a["output0"])), "error", "has 2 answers"),
        (spoil_golden(lambda a: a.update(input=a["input"][:0])), "error", "no inputs as this netw"),
        (spoil_golden(lambda a: a.update(input=a["input"][:1])), "error", "answers to 1 inputs"),
        (spoil_golden(lambda a: a.update(input=a["input"][..., 1:])), "error", "no inputs as"),
        (spoil_golden(lambda a: a.update(input=a["input"] * 1.0)), "error", "no inputs as this"),
        (spoil_golden(repeat), "error", "10 inputs, and an export has 8 at most"),
        (promise_much, "error", "cannot read .*golden.npz"),
        (spoil_golden(undefined("output0")), "error", "output0 holds infinite or undefined"),
        (spoil_golden(undefined("pytorch0")), "error", "pytorch0 holds infinite or undefined"),
        (lambda f: ((f / "golden.npz").unlink(), sign(f)), "failed", "not the files .*golden.npz"),
        (lambda f: ((f / "golden.npz").write_bytes(b"PK"), sign(f)), "error", "cannot read .*go"),
        (spoil_golden(lambda a: (a.clear(), a.update(x=np.zeros(1)))), "error", "cannot read .*g"),
        (lambda f: (shutil.move(f / "model.onnx", f.parent), (f / "model.onnx").symlink_to(
            f.parent / "model.onnx")), "failed", "not the files that"),
        (lambda f: change(f, settings={"mean": 1}), "error", "."),
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
    assert row["evidence"] == ("executed" if "otherwise" in message else None)
    assert re.search(message, row["message"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "none"}, "manifest.json: unknown target 'none'"),
        ({"files": []}, "manifest.json names no file"),
        ({"files": [{"name": "../model.onnx", "sha256": ""}]}, "files.0.name: .*in the export's"),
        ({"files": [{"name": "/etc/passwd", "sha256": ""}]}, "files.0.name: .*in the export's"),
        ({"golden": {"file": "../golden.npz"}}, "golden.file: .*in the export's folder"),
        ({"sources": ["/etc/passwd"]}, "sources.0: .*in the export's folder"),
        ({"model": "/../../../victim"}, "model: .*a name has no separators"),
        ({"model": ".hidden"}, "model: .*a name has no separators"),
        ({"model": "a\nb"}, "model: .*a name has no separators"),
        ({"model": "x" * 300}, "model: "),
        ({"classes": [float("nan")]}, "not JSON|JSON"),
        ({"max_abs_error": float("inf")}, "JSON"),
        ({"input": {"shape": [1, -3, 8, 8], "color": "rgb"}}, "input.shape.1: "),
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
    monkeypatch.setattr(OnnxRuntime, "run_untrusted", lambda *_: None)
    row = verify_export(reopen(folder))
    assert row.status == "ok" and row.evidence is None
    assert row.message == "the files are whole; nothing here runs onnxruntime"
    cut_file(folder)
    assert verify_export(reopen(folder)).status == "failed"
