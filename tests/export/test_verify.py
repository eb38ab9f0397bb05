"""The comparison with PyTorch: figures that mean what they say, limits that bite."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeark.errors import EdgearkError
from edgeark.export.check import fits_zoo_model
from edgeark.export.pipeline import export_model, planned_precisions
from edgeark.export.prepare import prepare
from edgeark.export.results.compare import (
    Parity,
    compare,
    failed_checks,
    score,
    sqnr_db,
    task_figures,
)
from edgeark.export.results.folder import staged_folder
from edgeark.export.results.schema import ExportResult, Metric
from edgeark.export.targets import find_target, find_targets, list_targets
from edgeark.export.targets.base import (
    Artifact,
    Conversion,
    Diagnostic,
    Evidence,
    Limits,
    RunResult,
    Target,
)
from edgeark.export.toolchains import ToolchainError, ToolchainUnavailable
from edgeark.training.data import ImageSet
from edgeark.zoo import create_model, spec_of
from hypothesis import given
from hypothesis import strategies as st


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(level=st.floats(1e-4, 10), seed=st.integers(0, 50))
def test_sqnr_is_the_ratio_of_powers(level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    signal, error = rng.normal(size=(2, 500))
    assert sqnr_db(signal, level * error) == pytest.approx(
        10 * np.log10(np.mean(signal**2) / np.mean((level * error) ** 2))
    )


def test_equal_answers_are_capped_and_json_can_hold_them() -> None:
    same = [np.arange(6.0).reshape(3, 2)]
    found = compare(same, same)
    assert (found.max_abs_error, found.sqnr_db, found.peak) == (0.0, 200.0, 5.0)
    json.dumps(compare(same, same).sqnr_db, allow_nan=False)


def test_a_network_that_answers_its_bias_is_not_perfect() -> None:
    """Plain SQNR would call this 40 dB and more; none of the signal is right."""
    rng = np.random.default_rng(0)
    wanted = 100 + rng.normal(size=(50, 10))
    constant = np.full_like(wanted, 100.0)
    assert compare([wanted], [constant]).sqnr_db == pytest.approx(0, abs=0.5)


def test_the_worst_output_counts() -> None:
    good = np.random.default_rng(0).normal(size=(9, 4))
    parity = compare([good, good], [good, good + 0.5])
    assert parity.max_abs_error == pytest.approx(0.5)
    assert parity.sqnr_db < 10


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([], "gave 0 outputs, PyTorch 1"),
        ([np.zeros((2, 4))], r"output 0 is \(2, 4\), PyTorch's is \(2, 3\)"),
        ([np.full((2, 3), np.nan)], "infinite or undefined"),
    ],
)
def test_answers_that_cannot_be_compared_are_errors(outputs: list, message: str) -> None:
    with pytest.raises(EdgearkError, match=message):
        compare([np.zeros((2, 3))], outputs)


PARITY = Parity(1e-3, 30.0)
METRIC = Metric(name="top1", float=0.996, value=0.993, n=10_000, dataset="mnist")


def test_limits_bite() -> None:
    assert failed_checks(Limits(), PARITY, METRIC) == []
    assert failed_checks(Limits(1e-2, 20.0, 0.003), PARITY, METRIC) == []
    missed = failed_checks(Limits(1e-4, 40.0, 0.002), PARITY, METRIC)
    assert missed == [
        "max abs error 1.00e-03 > 1.0e-04",
        "SQNR 30.0 dB < 40 dB",
        "top1 0.30 points below PyTorch (allowed: 0.20)",
    ]


def test_large_answers_may_differ_by_more() -> None:
    limits = Limits(max_abs_error=1e-4)
    for peak, error, right in ((4, 1.1e-4, False), (20, 3.9e-4, True), (20, 4.1e-4, False)):
        assert (failed_checks(limits, Parity(error, 90.0, peak), METRIC) == []) is right


def test_a_target_better_than_pytorch_passes() -> None:
    better = METRIC.replace(value=0.999)
    assert failed_checks(Limits(metric_drop=0.0), PARITY, better) == []


def test_foreign_images_allow_a_point() -> None:
    limits, worse = Limits(metric_drop=0.002), METRIC
    assert failed_checks(limits, PARITY, worse, foreign=True) == []
    assert failed_checks(limits, PARITY, worse) != []
    assert failed_checks(limits, PARITY, worse.replace(value=0.98), foreign=True) != []


def test_masks_are_scored_by_dice_over_the_marked_images() -> None:
    spec = spec_of(create_model("unet_8", width=0.25, input_size=(16, 16)))
    wanted = np.zeros((3, 16, 16), np.uint8)
    wanted[0, :4] = wanted[1, :8] = 1
    right = 8.0 * wanted[:, None] - 4
    half = right.copy()
    half[1, :, 4:], half[2] = -4, 4
    tiles = ImageSet("tiles", "test", np.zeros((3, 1, 16, 16), np.uint8), wanted, ("defect",))
    tiles = replace(tiles, groups=np.array(["dent", "crack", "free"]))
    metric = score(spec, *(task_figures(spec, [o], tiles) for o in (right, half)), tiles)
    assert metric.to_dict() == {
        **{"name": "dice", "float": 1.0, "value": pytest.approx((1 + 2 / 3) / 2)},
        **{"n": 2, "dataset": "tiles"},
        "details": {
            "false_alarms": {"float": 0.0, "value": 1.0},
            "dice crack": {"float": 1.0, "value": pytest.approx(2 / 3)},
            "dice dent": {"float": 1.0, "value": 1.0},
        },
    }
    assert failed_checks(Limits(metric_drop=0.002), PARITY, metric, drop_factor=2.0) == [
        "dice 16.67 points below PyTorch (allowed: 0.40)"
    ]
    with pytest.raises(EdgearkError, match="nothing is marked in 1 images of tiles"):
        task_figures(spec, [half[2:]], tiles.subset(np.array([2])))


def test_a_staged_folder_replaces_the_old_one_only_when_whole(tmp_path: Path) -> None:
    final = tmp_path / "a" / "b"
    with staged_folder(final) as folder:
        (folder / "one").touch()
    with pytest.raises(RuntimeError), staged_folder(final) as folder:
        (folder / "two").touch()
        raise RuntimeError
    assert names(final) == ["one"]
    with staged_folder(final) as folder:
        (folder / "three").touch()
    assert names(final) == ["three"]
    assert names(final.parent) == ["b"]


# The pipeline with a target that does as it is told.


class Puppet(Target):
    name, description, normalization = "puppet", "for tests", "host"
    evidence, precisions = Evidence.EXECUTED, ("float32", "int8")
    fails: BaseException | None = None
    diagnostics: tuple[Diagnostic, ...] = ()
    offset = 0.0

    def versions(self) -> dict[str, str]:
        return {"strings": "1"}

    def convert(self, job: Conversion) -> Artifact:
        job.log.write_text("converting\n")
        (job.out / "model.bin").write_bytes(b"12345")
        if self.fails:
            raise self.fails
        self.graph = job.graph
        files = ("model.bin",)
        return Artifact(self.full_name, job.precision, job.out, files, diagnostics=self.diagnostics)

    def run(self, artifact, images, log):
        return RunResult([o + self.offset for o in self.graph.reference(images)], 1.0)


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Puppet:
    puppet = Puppet()
    monkeypatch.setattr("edgeark.export.pipeline.find_targets", lambda *_: [puppet])
    monkeypatch.setenv("EDGEARK_CACHE", str(tmp_path / "cache"))
    return puppet


def export(tmp_path: Path, **options: object) -> list[ExportResult]:
    model = create_model("mnist_kpu", pretrained=True, spec={"dataset": "digits"})
    return export_model(model, ["puppet"], out=tmp_path / "out", limit=20, **options)  # type: ignore[arg-type]


def test_an_export_leaves_a_whole_folder(puppet: Puppet, tmp_path: Path) -> None:
    rows = export(tmp_path, int8=True)
    assert [(r.precision, r.status) for r in rows] == [("float32", "ok"), ("int8", "ok")]
    folder = tmp_path / "out" / "mnist_kpu" / "puppet" / "float32"
    assert names(folder) == ["golden.npz", "log.txt", "manifest.json", "model.bin"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["input"]["std"] == [255.0]
    assert manifest["files"][0]["bytes"] == 5
    assert manifest["status"] == "ok" and manifest["evidence"] == "executed"
    golden = np.load(folder / "golden.npz")
    assert golden["input"].dtype == np.uint8 and len(golden["input"]) == 8
    np.testing.assert_allclose(golden["output0"], golden["pytorch0"], atol=1e-5)
    row = rows[0].to_dict()
    assert row["metric"]["n"] == 20 and row["metric"]["dataset"] == "digits"
    json.dumps(row, allow_nan=False)


def test_a_missed_limit_is_a_failure_with_its_reason(puppet: Puppet, tmp_path: Path) -> None:
    puppet.offset = 0.01
    (row,) = export(tmp_path)
    assert row.status == "failed"
    assert "max abs error 1.00e-02 > 1.0e-04" in row.message


@pytest.mark.parametrize(("fatal", "status"), [(True, "failed"), (False, "ok")])
def test_a_concern_is_told_and_only_a_fatal_one_fails(
    puppet: Puppet, tmp_path: Path, fatal: bool, status: str
) -> None:
    """However right the simulator's answers are."""
    puppet.diagnostics = (Diagnostic("resize of up falls to the CPU: use nearest", fatal),)
    (row,) = export(tmp_path)
    assert (row.status, row.message) == (status, puppet.diagnostics[0].words)


def test_a_toolchain_error_is_a_row_and_leaves_no_folder(puppet: Puppet, tmp_path: Path) -> None:
    log = tmp_path / "out" / "mnist_kpu" / "puppet"
    puppet.fails = ToolchainError("puppet: convert failed: SIGSEGV", log=log)
    (row,) = export(tmp_path)
    assert (row.status, row.message) == ("error", "puppet: convert failed: SIGSEGV")
    assert row.log is not None and row.log.read_text() == "converting\n"
    assert names(tmp_path / "out" / "mnist_kpu" / "puppet") == []


def test_an_error_names_a_log_that_is_there(
    puppet: Puppet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from a relative folder: the staged one, which the toolchain knows, is gone by then."""
    monkeypatch.chdir(tmp_path)

    def convert(job: Conversion) -> Artifact:
        job.log.write_text("words\n")
        raise ToolchainError(f"puppet: no; log: {job.log}", log=job.log)

    monkeypatch.setattr(puppet, "convert", convert)
    (row,) = export(Path())
    named = Path(row.message.partition("log: ")[2])
    assert named == row.log and named.read_text() == "words\n"


def test_an_unavailable_toolchain_is_told_apart(puppet: Puppet, tmp_path: Path) -> None:
    puppet.fails = ToolchainUnavailable("needs Python 3.12")
    (row,) = export(tmp_path)
    assert (row.status, row.message) == ("unavailable", "needs Python 3.12")
    assert row.evidence is None, "nothing was proven"


def test_a_failed_export_keeps_the_earlier_one(puppet: Puppet, tmp_path: Path) -> None:
    export(tmp_path)
    puppet.fails = ToolchainError("no")
    export(tmp_path)
    assert (tmp_path / "out" / "mnist_kpu" / "puppet" / "float32" / "model.bin").exists()


def test_ctrl_c_leaves_nothing_half_written(puppet: Puppet, tmp_path: Path) -> None:
    puppet.fails = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path)
    assert names(tmp_path / "out" / "mnist_kpu" / "puppet") == []


def test_images_are_brought_to_the_networks_size(tmp_path: Path) -> None:
    model = create_model("mnist", input_size=(32, 36), spec={"dataset": "digits"})
    context = prepare(model, tmp_path, limit=5)
    assert context.calibration.head(5).images.shape == (5, 1, 32, 36)
    assert context.test.images.shape == (5, 1, 32, 36)


def test_data_of_other_classes_is_refused(tmp_path: Path) -> None:
    model = create_model("mnist", num_classes=7, spec={"dataset": "digits"})
    with pytest.raises(EdgearkError, match="digits has 10 classes, the network 7"):
        export_model(model, ["onnxruntime"], out=tmp_path)


def test_int8_only_targets_need_no_flag(puppet: Puppet) -> None:
    assert planned_precisions(puppet, int8=False) == ["float32"]
    puppet.precisions = ("int8",)  # type: ignore[misc]
    assert planned_precisions(puppet, int8=False) == ["int8"]


# The register of targets.


def test_every_listed_target_can_be_found() -> None:
    assert {find_target(name).full_name for name in list_targets()} == set(list_targets())
    assert "rknn:rk3588" in list_targets()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onnxrntime", "did you mean onnxruntime"),
        ("zzz", "edgeark targets lists them"),
        ("rknn", "rknn needs a chip: rknn:rk3588"),
        ("rknn:zzz", "unknown chip 'zzz' of rknn; its chips are rk3588"),
        ("mnn:x", "it has no chips"),
        ("", "name at least one target"),
    ],
)
def test_a_wrong_target_says_what_is_right(name: str, message: str) -> None:
    with pytest.raises(EdgearkError, match=message):
        find_targets(name)


def test_targets_are_taken_once_and_in_order() -> None:
    found = [t.full_name for t in find_targets("torchscript, onnxruntime,torchscript")]
    assert found == ["torchscript", "onnxruntime"]


@pytest.mark.parametrize(
    ("name", "some", "others"),
    [
        (
            "all",
            {"onnxruntime", "rknn:rk3588", "rknn1:rk1808", "k210"},
            {"rknn-torchscript:rk3588"},
        ),
        ("CPU", {"onnxruntime", "opencv", "opencv5"}, {"rknn:rk3588", "k210"}),
        ("npu", {"rknn:rk3588"}, {"onnxruntime", "rknn:rk3566", "k210"}),
        ("mcu", {"k210", "k210-nncase"}, {"onnxruntime", "rknn:rk3588"}),
        ("rknn:all", {"rknn:rk3588", "rknn:rv1126b"}, {"rknn1:rk1808"}),
    ],
)
def test_a_group_stands_for_its_targets(name: str, some: set[str], others: set[str]) -> None:
    found = [target.full_name for target in find_targets(name)]
    assert some <= set(found) <= set(list_targets())
    assert not others & set(found) and len(found) == len(set(found))


def test_a_group_has_the_k210_for_networks_made_for_it() -> None:
    fits = {name: fits_zoo_model(name) for name in ("unet_16", "mnist_kpu")}
    found = {n: {t.full_name for t in find_targets("all", fit)} for n, fit in fits.items()}
    assert "k210" in found["mnist_kpu"] - found["unet_16"]
    assert [t.full_name for t in find_targets("k210", fits["unet_16"])] == ["k210"]  # by name
