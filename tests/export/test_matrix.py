"""``edgeark matrix``: what is measured is kept, and what documents show is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from edgeark.errors import EdgearkError
from edgeark.export.matrix import RESULTS, read_results, to_markdown, write_results
from edgeark.export.results.schema import MatrixResult, Metric
from edgeark.export.targets.base import Evidence, Precision
from support.command import Run

DOCS = Path(__file__).parents[2] / "docs"


def result(model: str, target: str, precision: Precision, **fields: object) -> MatrixResult:
    known = {"model": model, "target": target, "precision": precision, "status": "ok"}
    made = {"evidence": Evidence.EXECUTED, "toolchain": {"a": "1"}, "weights": "0a"}
    return MatrixResult.model_validate({**known, **made, **fields})


def score(value: float) -> Metric:
    return Metric(name="top1", float=0.99, value=value, n=1000, dataset='digits: "test"')


MEASURED = [
    result("mnist", "mnn", "int8", sqnr_db=34.4, metric=score(0.98)),
    result("mnist", "onnxruntime", "float32", sqnr_db=131.0, metric=score(0.99)),
    result("mnist", "mnn", "float32", sqnr_db=126.0, metric=score(0.99)),
    result("mnist", "pplnn", "float32", evidence=Evidence.GENERATED, source_sqnr_db=131.2),
    result("mnist", "k210", "int8", status="error", evidence=None, message="a \\ kernel\nof 5x5"),
    result("vgg_s", "mnn", "float32", sqnr_db=120.0, metric=score(0.5), size_bytes=7),
]
TABLE = """\
| target | precision | evidence | `vgg_s` | `mnist` |
| --- | --- | --- | --: | --: |
| PyTorch | float32 |  | 99.00 % of 1,000 | 99.00 % of 1,000 |
| `onnxruntime` | float32 | executed |  | 99.00 %, 131 dB |
| `mnn` | float32 | executed | 50.00 %, 120 dB | 99.00 %, 126 dB |
| `mnn` | int8 | executed |  | 98.00 %, 34 dB |
| `pplnn` | float32 | generated |  | (131 dB) |
| `k210` | int8 |  |  | error |
"""


def test_what_is_written_is_read_in_the_order_of_the_targets(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    assert read_results(path) == []
    write_results(MEASURED, path)
    found = read_results(path)
    assert sorted(found, key=repr) == sorted(MEASURED, key=repr)
    assert [(r.target, r.precision) for r in found[:4]] == [
        *(("onnxruntime", "float32"), ("mnn", "float32"), ("mnn", "int8"), ("pplnn", "float32")),
    ]
    write_results(found[::-1], path)
    assert read_results(path) == found


def test_the_table() -> None:
    assert to_markdown(MEASURED, ["vgg_s", "mnist"]) == TABLE


def test_the_table_says_where_a_row_has_other_images() -> None:
    other = Metric(name="top1", float=0.91, value=0.9, n=20, dataset="digits")
    rows = [*MEASURED, result("mnist", "tflm", "int8", sqnr_db=30.0, metric=other)]
    text = to_markdown(rows, ["mnist"])
    assert "| PyTorch | float32 |  | 99.00 % of 1,000 |" in text
    assert "| `tflm` | int8 | executed | 90.00 % (PyTorch 91.00 % of 20), 30 dB |" in text


@pytest.mark.parametrize("text", ["[[result]]\nmodel = 1\n", "[[result]", "other = 1\n", "\xff"])
def test_another_file_is_one_line_and_stays(text: str, tmp_path: Path, run: Run) -> None:
    path = tmp_path / "results.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(EdgearkError, match=r"results\.toml"):
        read_results(path)
    arguments = ("--models", "mnist", "--to", "onnxruntime", "--file", path)
    for more in ([], ["--show"]):
        done = run("matrix", *arguments, *more)
        assert done.status == 2 and done.err.startswith("error: ") and not done.out
    assert path.read_text(encoding="latin-1") == text


def test_a_measurement_replaces_its_own_lines_alone(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "results.toml"
    old = result("mnist_kpu", "onnxruntime", "float32", sqnr_db=1.0)
    write_results([*MEASURED, old], path)
    done = run(
        *("matrix", "--models", "mnist_kpu", "--to", "onnxruntime", "--limit", 20),
        *("--file", path, "--json"),
    )
    assert done.status == 0 and [row["precision"] for row in done.json] == ["float32", "int8"]
    found = {r.key: r for r in read_results(path)}
    assert all(found[r.key] == r for r in MEASURED) and len(found) == len(MEASURED) + 2
    new = found[old.key]
    assert new.sqnr_db and new.sqnr_db > 75 and new.metric and new.metric.n == 20
    assert list(new.toolchain) == ["onnxruntime"] and new.size_bytes
    shown = run("matrix", "--show", "--models", "mnist_kpu", "--file", path)
    assert shown.status == 0 and "| `onnxruntime` | int8 | executed | " in shown.out
    listed = run("matrix", "--show", "--models", "vgg_s", "--file", path, "--json")
    assert [row["size_bytes"] for row in listed.json] == [7]


def test_an_unknown_model_is_said_before_anything_runs(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "results.toml"
    done = run("matrix", "--models", "mnist_kpu,mnits", "--to", "onnxruntime", "--file", path)
    assert done.status == 2 and "did you mean mnist" in done.err and not path.exists()


def test_the_shipped_results_are_of_shipped_weights_and_all_are_well() -> None:
    results = read_results()
    assert results, RESULTS
    sums = (RESULTS.parent / "SHA256SUMS").read_text().split()
    known = dict(zip(sums[1::2], sums[::2], strict=True))
    assert {known.get(f"{r.model}.safetensors") == r.weights for r in results} == {True}
    assert [r.key for r in results if r.status != "ok"] == []


@pytest.mark.parametrize(
    "models",
    [
        ["mnist", "mobilenet_v1_050", "vgg_s", "unet_16", "yolov5n"],
        ["yolov5n", "yolov8n", "yolo11n", "yolox_nano"],
    ],
)
def test_the_documents_tables_are_what_was_measured(models: list[str]) -> None:
    text = (DOCS / "targets.md").read_text(encoding="utf-8")
    assert to_markdown(read_results(), models) in text
