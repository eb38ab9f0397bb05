"""The schema of a result: one set of models for rows, files and what is read back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.results.manifest import (
    MANIFEST,
    Manifest,
    ManifestError,
    manifest_schema,
    read_manifest,
    write_manifest,
)
from edgeark.export.results.schema import (
    Calibration,
    ExportResult,
    Figure,
    Metric,
    ProvenResult,
    SourceResult,
)
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Evidence, Placement
from edgeark.zoo import model_entry
from pydantic import ValidationError

SCHEMA = Path(__file__).parents[2] / "docs/manifest.schema.json"
METRIC = Metric(
    name="map50",
    float=0.75,
    value=0.5,
    n=7,
    dataset="bccd",
    details={"map50_95": Figure(float=0.5, value=0.25)},
)
ROW = ExportResult(
    model="yolov5n",
    target="onnxruntime",
    precision="int8",
    status="inconclusive",
    evidence=Evidence.EXECUTED,
    max_abs_error=0.5,
    sqnr_db=30.25,
    metric=METRIC,
    placement=Placement(0.75, ("Resize",), 10, None, ({"name": "conv"},), 1.5),
    calibration=Calibration(dataset="bccd", split="train", count=3, choice="at random"),
    artifact=Path("out/model.onnx"),
    size_bytes=3,
    message="7 images",
    source_results=(
        SourceResult(file="a.pt", max_abs_error=0.0, sqnr_db=200.0, peak=4.0, metric=METRIC),
    ),
    outputs=[np.zeros((2, 255, 8, 8), np.float32)],
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export with every kind of result in its manifest."""
    (tmp_path / "model.onnx").write_bytes(b"123")
    artifact = Artifact("onnxruntime", "int8", tmp_path, ("model.onnx",), {"layout": "NHWC"})
    spec = model_entry("yolov5n").spec
    write_manifest(tmp_path, spec, find_target("onnxruntime"), artifact, ROW.outputs, ROW)
    return tmp_path


def test_a_row_keeps_the_names_and_the_order_of_the_contract() -> None:
    row = ROW.to_dict()
    assert list(row) == [
        *("model", "target", "precision", "status", "evidence", "max_abs_error", "sqnr_db"),
        *("metric", "placement", "calibration", "artifact", "size_bytes", "convert_s", "run_ms"),
        *("log", "message", "source_results"),
    ]
    assert list(row["metric"]) == ["name", "float", "value", "n", "dataset", "details"]
    assert row["metric"]["details"] == {"map50_95": {"float": 0.5, "value": 0.25}}
    assert "layers" not in row["placement"] and row["placement"]["cpu_ops"] == ["Resize"]
    assert row["evidence"] == "executed" and row["artifact"] == "out/model.onnx"
    assert [source["file"] for source in row["source_results"]] == ["a.pt"]
    read = ExportResult.model_validate_json(json.dumps(row, allow_nan=False))
    assert read.to_dict() == row


def test_what_is_written_is_read_by_the_same_model(folder: Path) -> None:
    found = read_manifest(folder)
    assert json.loads((folder / MANIFEST).read_text()) == found.to_dict()
    assert found.schema_version == 2
    shared = [*ProvenResult.model_fields, "message", "source_results"]
    assert all(found.to_dict()[name] == ROW.to_dict()[name] for name in shared)
    spec = model_entry("yolov5n").spec
    assert (found.spec.input_size, found.spec.anchors) == (spec.input_size, spec.anchors)
    assert found.input.letterbox is not None and found.input.letterbox.centred
    assert [output.shape for output in found.outputs] == [(1, 8, 8, 255)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"sqnr_db": 30.25', '"sqnr_db": NaN', "not JSON"),
        ('"sqnr_db": 30.25', '"sqnr_db": 1e999', "sqnr_db: "),
        ('"layout": "NHWC"\n', '"layout": Infinity\n', "not JSON"),
        ('"schema_version": 2', '"schema_version": 3', "schema_version: "),
        ('"status": "inconclusive"', '"status": "fine"', "status: "),
    ],
)
def test_a_manifest_that_breaks_the_schema_is_one_line(
    old: str, new: str, message: str, folder: Path
) -> None:
    path = folder / MANIFEST
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    with pytest.raises(ManifestError, match=message) as error:
        read_manifest(folder)
    assert "\n" not in str(error.value)


def test_no_result_holds_what_json_cannot() -> None:
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            ROW.replace(sqnr_db=value)
        with pytest.raises(ValidationError):
            METRIC.replace(value=value)


def test_the_json_schema_in_the_docs_is_the_models() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == manifest_schema(), "run: make docs"
    schema = json.loads(manifest_schema())
    assert set(schema["properties"]) == set(Manifest.model_fields)
    assert "layers" not in schema["$defs"]["Placement"]["properties"]
