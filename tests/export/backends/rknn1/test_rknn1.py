"""rknn1: the files that are written for RKNN-Toolkit 1.7, and what a row says of them."""

from __future__ import annotations

import ast
import json
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark import cli
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_passes import duplicate_shared_initializers
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import EvalContext
from edgeark.export.targets import find_target, list_targets
from edgeark.export.targets.base import Artifact
from edgeark.export.targets.tools import set_tools
from edgeark.export.verify import reopen
from edgeark.zoo import create_model, spec_of
from support.rknn1_cases import TARGET, export_digits, few_digits, packages_of
from support.toolkit_pythons import make_python
from torch import nn


@pytest.fixture(scope="module")
def digits() -> EvalContext:
    return few_digits()


@pytest.fixture(scope="module")
def exported(digits: EvalContext, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_digits(digits, tmp_path_factory.mktemp("an export"))


def test_is_listed_with_its_chips() -> None:
    names = [name for name in list_targets() if name.startswith("rknn1:")]
    assert names == ["rknn1:rk1808", "rknn1:rk3399pro", "rknn1:rv1109", "rknn1:rv1126"]
    assert find_target(names[0]).evidence.value == "generated"


def test_a_row_claims_nothing_that_was_not_run(digits: EvalContext, tmp_path: Path) -> None:
    """Its own figures stay empty; those of the files that were handed over have their names."""
    row = export_one(digits, find_target(TARGET), "float16", tmp_path).to_dict()
    assert (row["status"], row["evidence"]) == ("ok", "generated")
    assert [row[key] for key in ("max_abs_error", "sqnr_db", "metric", "run_ms", "placement")] == [
        *(None, None, None, None, None)
    ]
    assert "no runtime or simulator of rknn1:rk3399pro has run it" in row["message"]
    assert [found["file"] for found in row["source_results"]] == ["model.onnx", "model.pt"]
    for found in row["source_results"]:
        assert 0 < found["max_abs_error"] < 1e-4 and found["sqnr_db"] > 100
        assert found["metric"]["value"] == found["metric"]["float"] > 0.9
    folder = Path(row["artifact"]).parent
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source_results"] == row["source_results"]
    (output,) = manifest["outputs"]
    assert (output["name"], output["shape"]) == ("output", [1, 10, 1, 1])
    assert not (folder / "dataset.txt").exists(), "float16 is not calibrated"
    golden = np.load(folder / "golden.npz")
    assert sorted(golden.files) == ["input", "pytorch0"]


def test_a_source_that_differs_fails_the_row(
    digits: EvalContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(proto: onnx.ModelProto) -> onnx.ModelProto:
        proto.graph.initializer[0].raw_data = bytes(len(proto.graph.initializer[0].raw_data))
        return proto

    monkeypatch.setattr(
        "edgeark.export.backends.rknn1.target.duplicate_shared_initializers", broken
    )
    row = export_one(digits, find_target(TARGET), "float16", tmp_path)
    assert row.status == "failed"
    assert "max abs error" in row.message


def test_the_networks_are_what_the_old_toolkit_reads(exported: Path) -> None:
    proto = onnx.load(exported / "model.onnx")
    assert (proto.opset_import[0].version, proto.ir_version) == (11, 6)
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 1, 28, 28]
    with zipfile.ZipFile(exported / "model.pt") as file:
        names = file.namelist()
        (version,) = (name for name in names if name.endswith("/version"))
        assert int(file.read(version)) == 3  # 1.10 reads up to 9
    assert not any(name.endswith("debug_pkl") for name in names), "they hold local paths"
    graph = torch.jit.load(str(exported / "model.pt")).inlined_graph
    kinds = {node.kind() for node in graph.nodes()}
    assert not kinds & {"aten::size", "aten::Int", "prim::NumToTensor", "prim::If", "prim::Loop"}
    assert "prim::GetAttr" in kinds, "weights are where the toolkit looks for them"


def test_shared_weights_become_each_convolutions_own(tmp_path: Path) -> None:
    """The exporter reads one of two equal initializers through Identity."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)).eval()
    for conv in model:
        assert isinstance(conv, nn.Conv2d) and conv.bias is not None
        nn.init.ones_(conv.bias)
    spec = replace(spec_of(create_model("mnist")), input_size=(8, 8))
    proto = onnx.load(Graph(model, spec, tmp_path).onnx(11))
    assert "Identity" in {node.op_type for node in proto.graph.node}
    own = duplicate_shared_initializers(proto)
    onnx.checker.check_model(own)
    assert {node.op_type for node in own.graph.node} == {"Conv"}
    read = [name for node in own.graph.node for name in node.input[1:]]
    assert len(set(read)) == len(read) == 6


def test_200_training_images_to_calibrate_on(exported: Path, digits: EvalContext) -> None:
    lines = (exported / "dataset.txt").read_text().splitlines()
    assert len(set(lines)) == len(lines) == 200
    images = np.stack([np.load(exported / line) for line in lines])
    assert images.shape == (200, 28, 28, 1)
    assert np.array_equal(images.transpose(0, 3, 1, 2), digits.calibration.images)


@pytest.mark.parametrize("script", ["convert.py", "run_on_board.py"])
def test_scripts_are_python_3_6_in_ascii(script: str, exported: Path) -> None:
    text = (exported / script).read_text()
    ast.parse(text, feature_version=(3, 6))
    assert text.isascii() and max(map(len, text.splitlines())) <= 120


def test_no_registry_and_no_path_of_this_machine_is_named(exported: Path) -> None:
    for path in exported.iterdir():
        if path.suffix in (".py", ".md", ".txt", ".json") and path.name != "log.txt":
            text = path.read_text()
            assert "://" not in text and str(exported.parent) not in text, path.name


@pytest.fixture(scope="module")
def toolkit_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python of its own that has the stand-in, and what that needs, installed."""
    folder = tmp_path_factory.mktemp("toolkit")
    return make_python(folder / "venv", *packages_of(folder / "packages"))


@pytest.mark.parametrize(("has_simulator", "evidence"), [("1", "simulated"), ("0", "compiled")])
def test_a_toolkit_of_the_users_converts_and_is_compared(
    has_simulator: str,
    evidence: str,
    digits: EvalContext,
    toolkit_python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RKNN1_SIMULATOR", has_simulator)
    target = find_target(TARGET)
    set_tools([target], {"rknn1": toolkit_python})
    row = export_one(digits, target, "int8", tmp_path)
    assert (row.status, row.evidence) == ("ok", evidence), row.message
    assert row.artifact is not None and row.artifact.name == "model.rknn"
    assert (row.sqnr_db is not None) == (evidence == "simulated") == (row.metric is not None)
    if row.max_abs_error is not None and row.run_ms:
        assert row.max_abs_error < 1e-4 and row.run_ms > 0
    export = reopen(row.artifact)
    again = target.run_untrusted(export.artifact, export.golden().images, tmp_path / "again.txt")
    assert (again is not None) == (evidence == "simulated"), "confined"
    names = {path.name for path in row.artifact.parent.iterdir()}
    assert "dropped-by-the-toolkit.json" not in names
    assert "wrote" in (row.artifact.parent / "log.txt").read_text()


def test_a_failing_toolkit_is_an_error_with_its_words(
    digits: EvalContext, toolkit_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RKNN1_FAIL", "build")
    target = find_target(TARGET)
    set_tools([target], {"rknn1": toolkit_python})
    row = export_one(digits, target, "float16", tmp_path)
    assert (row.status, row.evidence) == ("error", None)
    assert "rknn1: convert failed: it ended with status 1" in row.message
    assert "build failed (-1)" in row.message
    assert row.log is not None and "told to fail" in row.log.read_text()
    assert not list(tmp_path.rglob("convert.py"))


def test_the_command_line_prints_the_handover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["edgeark", "export", "mnist", "--to", TARGET, "--limit", "8"]
    monkeypatch.setattr(sys, "argv", [*command, "--out", str(tmp_path), "--json"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["evidence"] == "generated" and len(row["source_results"]) == 2


def test_a_converted_artifact_says_so() -> None:
    target, folder = find_target(TARGET), Path()
    for converted, evidence in ((True, "compiled"), (False, "generated")):
        artifact = Artifact(TARGET, "int8", folder, (), {"converted": converted})
        assert target.evidence_of(artifact, None).value == evidence
