"""The command line as a user meets it: JSON on stdout, one line for a mistake, honest status."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark import cli
from edgeark.export.results.layers_file import LayerReport
from edgeark.export.targets.base import LayerError, Quantization
from edgeark.export.toolchains import manage
from edgeark.zoo import create_model, save_weights, spec_of
from PIL import Image
from support.command import Run
from support.ultralytics_fakes import DetectionModel, save_checkpoint


@pytest.fixture
def digits_weights(tmp_path: Path) -> Path:
    """The shipped weights, with scikit-learn's digits as their data set: always at hand."""
    model = create_model("mnist_kpu", pretrained=True, spec={"dataset": "digits"})
    return save_weights(model, tmp_path / "digits.safetensors")


def test_models_lists_names_tasks_and_inputs(run: Run) -> None:
    rows = run("models", "--json").json
    assert {row["name"] for row in rows} >= {"mnist", "mnist_kpu"}
    assert {row["name"] for row in rows if row["trained"]} >= {"mnist", "mnist_kpu"}
    known = {row["name"]: row["weights"] for row in rows}
    assert known["mobilenet_v1_100"] is None
    signs = known["mobilenet_v1_025"]  # what the weights know, and the network was not made for
    assert (signs["dataset"], signs["input_size"]) == ("sign_digits", [128, 128])
    table = run("models").out
    assert "mnist_kpu" in table and "bccd: 3 classes" in " ".join(table.split())


def test_info_says_what_a_file_of_weights_knows(run: Run, tmp_path: Path) -> None:
    spec = {"classes": ("ok", "scratch"), "dataset": "image_folder"}
    model = create_model("mobilenet_v1_025", input_size=(128, 160), spec=spec)
    path = save_weights(model, tmp_path / "mine.safetensors", {"seed": "7"})
    document = run("info", "mobilenet_v1_025", "--weights", str(path), "--json").json
    assert (document["classes"], document["input_size"]) == (["ok", "scratch"], [128, 160])
    assert document["trained"] == {**spec, "classes": ["ok", "scratch"], "input_size": [128, 160],
                                   "seed": "7"}  # fmt: skip
    lines = run("info", "mobilenet_v1_025", "--weights", str(path)).out.splitlines()
    assert any(line.split() == ["trained:", "classes", "ok,", "scratch"] for line in lines)


def test_info_counts_and_quotes(run: Run) -> None:
    document = run("info", "mnist", "--json").json
    assert document["parameters"] == 431_640
    assert document["macs"] == 288_000 + 1_600_000 + 400_000 + 5_000
    assert document["input_size"] == [28, 28]
    assert document["trained"]["seed"] == "0"
    assert document["stages"][1:] == [
        {"index": 1, "channels": 50, "reduction": 2, "shape": [50, 8, 8]},
        {"index": 2, "channels": 50, "reduction": 4, "shape": [50, 4, 4]},
    ]
    table = run("info", "mnist")
    assert table.status == 0 and "431,640" in table.out and "50x8x8" in table.out


def test_targets_say_what_proves_them(run: Run) -> None:
    rows = {row["target"]: row for row in run("targets", "--json").json}
    assert rows["onnxruntime"]["installed"] is True
    assert rows["rknn:rk3588"]["evidence"] == "simulated"
    assert rows["rknn:rv1106"]["precisions"] == ["int8"]
    assert all(row["versions"] for row in rows.values())
    assert {row["group"] for row in rows.values()} == {"cpu", "npu", "mcu"}
    assert rows["rknn:rk3566"]["toolchain"] == rows["rknn:rk3588"]["toolchain"] == "rknn"
    assert (rows["mnn"]["disk_mb"] > 20) == rows["mnn"]["installed"]
    table = run("targets")
    assert table.status == 0 and "OpenCV DNN" in table.out


def test_toolchains_come_and_go(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands alone: test_toolchains has the environments."""
    asked: list[str] = []
    monkeypatch.setattr(manage, "install", lambda chains, say: asked.extend(c.name for c in chains))
    monkeypatch.setattr(manage, "remove", lambda chain: 3_000_000)
    monkeypatch.setattr(manage, "disk_bytes", lambda chain: 2_000_000)
    done = run("targets", "install", "rknn", "rknn:rv1106", "mnn,onnxruntime", "--json")
    assert asked == ["rknn", "mnn"]
    assert done.json == [{"toolchain": name, "disk_mb": 2} for name in asked]
    assert run("targets", "remove", "mnn", "--json").json == [{"toolchain": "mnn", "freed_mb": 3}]
    assert "freed_mb" in run("targets", "remove", "all").out
    asked.clear()
    run("targets", "install", "k210-nncase-tflite")
    assert asked == ["litert", "nncase"]


FIELDS = (
    *("model", "target", "precision", "status", "evidence", "max_abs_error", "sqnr_db", "metric"),
    *("placement", "artifact", "size_bytes", "convert_s", "run_ms", "log"),
)


def test_export_prints_the_contracts_fields(run: Run, digits_weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(
        *("export", "mnist_kpu", "--to", "onnxruntime,torchscript", "--int8", "--json"),
        *("--weights", digits_weights, "--out", out, "--limit", 100),
    )
    assert result.status == 0, result.err
    rows = result.json
    assert [(r["target"], r["precision"], r["status"]) for r in rows] == [
        ("onnxruntime", "float32", "ok"),
        ("onnxruntime", "int8", "ok"),
        ("torchscript", "float32", "ok"),
    ]
    for row in rows:
        assert set(FIELDS) <= row.keys()
        assert {"name", "float", "value", "n"} <= row["metric"].keys()
        assert Path(row["artifact"]).is_file() and Path(row["log"]).is_file()
    assert rows[1]["size_bytes"] < rows[0]["size_bytes"] / 2


def test_eval_in_pytorch_and_on_a_target(run: Run, digits_weights: Path) -> None:
    result = run(
        *("eval", "mnist_kpu", "--to", "pytorch,onnxruntime", "--json", "--limit", 50),
        *("--weights", digits_weights),
    )
    assert result.status == 0, result.err
    rows = result.json
    assert [row["target"] for row in rows] == ["pytorch", "onnxruntime"]
    assert rows[0]["metric"]["value"] == rows[1]["metric"]["value"]
    assert rows[1]["artifact"] is None


def test_a_missed_limit_is_status_1(
    run: Run, digits_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeark.export.targets import base as target

    monkeypatch.setattr(target, "FLOAT32_LIMITS", target.Limits(max_abs_error=0.0))
    result = run(
        *("export", "mnist_kpu", "--to", "onnxruntime", "--json", "--limit", 20),
        *("--weights", digits_weights, "--out", tmp_path / "out"),
    )
    assert result.status == 1
    assert result.json[0]["status"] == "failed"


def test_train_and_resume(run: Run, write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe, out = write_recipe(epochs=2), tmp_path / "run"
    result = run("train", recipe, "--out", out, "--json")
    assert result.status == 0, result.err
    assert result.json["epochs"] == 2 and result.json["n"] == 1000
    again = run("train", recipe, "--out", out, "--resume", "--json")
    assert again.json == result.json
    nothing = run("train", recipe, "--out", tmp_path / "other", "--resume")
    assert nothing.status == 2 and "nothing to resume" in nothing.err
    weights = result.json["weights"]
    scored = run("eval", "mnist_kpu", "--weights", weights, "--json")
    assert scored.json[0]["metric"]["value"] == pytest.approx(result.json["test"])


def test_ones_own_images_train_and_export_by_two_commands(run: Run, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, low, high in (("dark", 0, 120), ("light", 136, 256)):
        for number in range(60):
            pixels = rng.integers(low, high, (30, 26), np.uint8)
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    own = ("--data", tmp_path / "photos")
    trained = run(
        *("train", "mnist_kpu", "--dataset", "image_folder", *own, "--epochs", "20"),
        *("--batch-size", "8", "--out", tmp_path / "run", "--json"),
    )
    assert trained.status == 0, trained.err
    assert (trained.json["n"], trained.json["test"]) == (24, 1.0)
    exported = run(
        *("export", "mnist_kpu", "--weights", trained.json["weights"], *own),
        *("--to", "onnxruntime", "--int8", "--out", tmp_path / "exports", "--json"),
    )
    assert [row["status"] for row in exported.json] == ["ok", "ok"], exported.err
    manifest = tmp_path / "exports/mnist_kpu/onnxruntime/int8/manifest.json"
    assert json.loads(manifest.read_text())["classes"] == ["dark", "light"]


def test_a_training_below_its_target_is_status_1(
    run: Run, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = write_recipe(epochs=1, target_metric=0.999)
    result = run("train", recipe, "--out", tmp_path / "run")
    assert result.status == 1
    assert "below the recipe's target of 0.999" in result.err


def test_layers_prints_and_draws_what_each_loses(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = [LayerError("relu", "stem.act", "Relu", 0.99, 21.5, 0.999, 31.5)]
    reports = [LayerReport("mnist", "rknn:rk3588", "int8", layers)]
    asked: dict[str, Any] = {}

    def analyze(model: str, targets: list[str], **options: Any) -> list[LayerReport]:
        asked.update(options)
        return reports

    monkeypatch.setattr("edgeark.export.layers.analyze_layers", analyze)
    arguments = ["layers", "mnist", "--to", "rknn:rk3588", "--int8", "--calibration-method", "mmse"]
    done = run(*arguments, "--mixed-precision", "--json", "--plot", tmp_path / "new" / "layers.png")
    assert done.json[0]["layers"][0]["own_sqnr_db"] == 31.5
    assert asked["quantization"] == Quantization(200, "mmse", mixed=True)
    assert Image.open(tmp_path / "new" / "layers.png").width > 100
    done = run(*arguments)
    assert "stem.act" in done.out and "31.5" in done.out
    done = run(*arguments, "--exports", tmp_path)
    assert done.status == 2 and "there is no export in" in done.err
    assert not (tmp_path / "mnist").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "minst", "--to", "mnn"], "unknown model 'minst'; did you mean mnist"),
        (
            ["export", "qqqqqq", "--to", "mnn"],
            "'qqqqqq'; edgeark models lists those that there are",
        ),
        (["export", "mnist", "--to", "mmn"], "unknown target 'mmn'; did you mean mnn?"),
        (["export", "mnist", "--to", "rk3588"], "target 'rk3588'; did you mean rknn:rk3588"),
        (["export", "mnist", "--to", "rknn:rk1808"], "of rknn; did you mean rknn1:rk1808"),
        (["export", "mnist", "--to", "zzz"], "'zzz'; edgeark targets lists them; groups are all,"),
        (["train", "mnist", "--dataset", "yolotxt"], "'yolotxt'; did you mean yolo_txt"),
        (["export", "mnist", "--to", "rknn"], "rknn needs a chip"),
        (["export", "mnist", "--to", "mnn", "--data", "nowhere"], "no mnist data set in nowhere"),
        (["export", "mnist", "--to", "mnn", "--weights", "no.st"], "no weights file at no.st"),
        (["eval", "mnist", "--weights", "/dev/null"], "no weights file at /dev/null"),
        (["info", "nothing"], "unknown model 'nothing'"),
        (["targets", "install", "mmn"], "unknown target 'mmn'; did you mean mnn?"),
        (["targets", "remove", "onnxruntime"], "onnxruntime: nothing to install"),
        (["train", "lenet"], "no recipe lenet"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(
    run: Run,
    arguments: Sequence[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.status == 2
    assert result.out == ""
    lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0], result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["export"], ["nonsense"], ["models", "--nope"]])
def test_wrong_usage_is_status_2(run: Run, arguments: Sequence[str]) -> None:
    result = run(*arguments)
    assert result.status == 2
    assert "Traceback" not in result.err


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeark.errors import EdgearkError

    monkeypatch.setattr(sys, "argv", ["edgeark", "info", "nothing", "--debug"])
    with pytest.raises(EdgearkError):
        cli.main()


def test_a_folder_that_cannot_be_written_is_one_line(
    run: Run, digits_weights: Path, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    result = run(
        *("export", "mnist_kpu", "--to", "onnxruntime", "--weights", digits_weights),
        *("--out", blocked, "--limit", 10),
    )
    assert result.status == 2
    assert "error: " in result.err and "Traceback" not in result.err


def loaded(code: str, modules: set[str]) -> set[str]:
    """Which of ``modules`` a fresh Python has imported after running ``code``."""
    code += f"\nimport sys; print(*(set({sorted(modules)!r}) & sys.modules.keys()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(said.stdout.split())


def test_import_edgeark_loads_nothing_heavy() -> None:
    assert loaded("import edgeark", {"torch", "onnx", "timm", "numpy"}) == set()


def test_the_zoo_needs_torch_alone() -> None:
    heavy = {"onnx", "onnxruntime", "timm", "lightning_fabric", "torchmetrics", "torchvision"}
    heavy |= {"sklearn", "matplotlib", "pydantic", "typer", "rich"}
    code = "import edgeark; edgeark.create_model('mnist', pretrained=True); "
    code += "from edgeark.zoo.backbone import create_backbone; create_backbone('mnist')"
    assert loaded(code, heavy) == set()


def test_the_front_door_opens() -> None:
    import edgeark

    assert edgeark.list_models() and "create_model" in dir(edgeark)
    with pytest.raises(AttributeError, match="no attribute 'creat_model'"):
        edgeark.creat_model  # noqa: B018


def test_import_writes_weights_that_load(run: Run, tmp_path: Path) -> None:
    checkpoint = save_checkpoint(DetectionModel(), tmp_path / "best.pt")
    written = tmp_path / "w.safetensors"
    document = run("import", checkpoint, "--as", "yolov5n", "--out", written, "--json").json
    assert (document["origin"], document["epoch"], document["act"]) == ("Ultralytics", 12, "silu")
    assert document["classes"] == ["class 0", "class 1", "class 2"]
    assert document["anchors"][0][0] == [10, 13] and document["assumed"] == []
    assert document["parameters"] == sum(p.numel() for p in DetectionModel().parameters())
    model = create_model("yolov5n", weights=written)
    assert spec_of(model).classes == ("class 0", "class 1", "class 2")
    table = run("import", checkpoint, "--as", "yolov5n", "--out", written)
    assert table.status == 0 and "Ultralytics" in table.out


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("best.pt", ["--as", "yolov5s"], "is a yolov5n (width 0.25, depth 0.33), no yolov5s"),
        ("best.pt", ["--as", "yolo5n"], "did you mean yolov5n"),
        ("cut.pt", ["--as", "yolov5n"], "cut off or damaged"),
        ("none.pt", ["--as", "yolov5n"], "no weights file at"),
        ("best.onnx", ["--as", "yolov5n"], "no weights file that is known"),
        ("evil.pkl", ["--as", "yolov5n"], "refers to 'posix.system'"),
    ],
)
def test_a_bad_import_is_one_line_and_writes_nothing(
    run: Run, name: str, arguments: list[str], message: str, tmp_path: Path
) -> None:
    checkpoint = save_checkpoint(DetectionModel(base=16), tmp_path / "best.pt")
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:-1000])
    (tmp_path / "best.onnx").write_bytes(b"")
    (tmp_path / "evil.pkl").write_bytes(b"cposix\nsystem\n(S'true'\ntR.")
    before = sorted(tmp_path.iterdir())
    result = run("import", tmp_path / name, *arguments, "--out", tmp_path / "w.safetensors")
    assert result.status == 2 and not result.out
    assert message in result.err and result.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
    result = run("import", checkpoint, "--as", "yolov5n", "--out", tmp_path / "w.pt")
    assert result.status == 2 and "written as .safetensors" in result.err


def test_new_writes_a_project_and_leaves_anothers_files_alone(run: Run, tmp_path: Path) -> None:
    done = run("new", tmp_path / "mine", "--template", "unet", "--example", "--json")
    assert done.status == 0 and done.json["images"] == 60
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {*done.json["files"], "images"}
    again = run("new", tmp_path / "mine", "--template", "vgg")
    assert again.status == 2 and again.err.count("\n") == 1
    assert "is there already: name a new folder, or empty it" in again.err


def test_fine_tuning_for_int8_needs_weights(
    run: Run, write_recipe: Callable[..., Path], digits_weights: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(epochs=1)
    failed = run("train", recipe, "--qat", "int8", "--out", tmp_path / "run")
    assert failed.status == 2 and "name them with --weights" in failed.err
    narrow = run("train", recipe, "--weights", digits_weights, "--out", tmp_path / "run")
    assert narrow.status == 2 and "does not fit this network" in narrow.err
    assert not (tmp_path / "run").exists()
