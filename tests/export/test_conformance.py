"""``edgeark conformance``: predictions beside what the engines do, whatever an engine does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from edgeark.core.settings import cache_folder
from edgeark.errors import EdgearkError
from edgeark.export.conformance import (
    Cell,
    read_cells,
    score_errors,
    score_fallbacks,
    to_markdown,
    write_cells,
)
from edgeark.export.conformance.settle import settle
from edgeark.export.sources import InputOptions, open_source
from support.command import Run
from support.target_base import installed_target
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
NETWORKS = """
from torch import nn


def clean():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3))


def divided():
    return nn.Sequential(clean(), nn.AvgPool2d(2, divisor_override=3))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x
"""
# Engines that do what real ones do: one dies of a signal, one never ends, one answers otherwise.
PLUGIN = """
import os, shutil, signal, time
from pathlib import Path

from edgeark.export.backends.onnxruntime.target import run_onnx
from edgeark.export.targets.base import Artifact, Evidence, Target


class Dies(Target):
    name = "dies"
    description = "an engine"
    evidence = Evidence.EXECUTED
    precisions = ("float32",)
    normalization = "host"

    def versions(self):
        return {"toy": "0.1"}

    def convert(self, job):
        os.kill(os.getpid(), signal.SIGSEGV)

    def run(self, artifact, images, log):
        raise AssertionError


class Hangs(Dies):
    name = "hangs"

    def convert(self, job):
        Path(os.environ["HANGING"]).write_text(str(os.getpid()))
        time.sleep(600)


class Doubles(Dies):
    name = "doubles"

    def convert(self, job):
        shutil.copyfile(job.graph.onnx_of_any_opset(), job.out / "toy.onnx")
        return Artifact("doubles", job.precision, job.out, ("toy.onnx",), job.normalization)

    def run(self, artifact, images, log):
        result = run_onnx(artifact.path, images, artifact.settings)
        result.outputs[:] = [2 * output for output in result.outputs]
        return result
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the engines in it."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "toys").mkdir()
    targets = '{"dies": "Dies", "hangs": "Hangs", "doubles": "Doubles"}'
    (folder / "toys" / "__init__.py").write_text(f"TARGETS = {targets}\nRANK = 100\n")
    (folder / "toys" / "target.py").write_text(PLUGIN)
    (facts := folder / "toys-0.1.dist-info").mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 0.1\n")
    (facts / "entry_points.txt").write_text("[edgeark.targets]\ntoys = toys\n")
    return folder


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETWORKS)
    return tmp_path / "nets.py"


def command(site: Path, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "EDGEARK_CACHE": str(cache_folder()),
        "HANGING": str(folder / "hanging"),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "edgeark", "conformance", *map(str, arguments)],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def cell(network: str, target: str, predicted: str, real: str, **fields: Any) -> Cell:
    known = {"network": network, "target": target, "predicted": predicted, "real": real}
    return Cell.model_validate({"precision": "float32", "versions": {"a": "1"}, **known, **fields})


INT8: dict[str, Any] = {"precision": "int8", "sqnr_db": 4.0}
CELLS = [
    cell("a", "onnxruntime", "fits", "ok", sqnr_db=130.04),
    cell("a", "mnn", "error", "ok", error_rules=("lstm",)),
    cell("a", "rknn:rk3588", "falls back", "ok", fallback_rules=("sine",), cpu_ops=()),
    cell("b", "onnxruntime", "error", "error", cause='a \\ "kernel"', error_rules=("lstm",)),
    cell("b", "mnn", "fits", "failed", input_shape="3x8x8", sqnr_db=-1.0),
    cell("b", "rknn:rk3588", "fits", "ok", cpu_ops=("Sin",)),
    cell("c", "onnxruntime", "fits", "inconclusive"),
    cell("c", "mnn", "error", "refused", error_rules=("inputs",)),
    cell("c", "rknn:rk3588", "falls back", "inconclusive", cpu_ops=("Sin",)),
    cell("a", "rknn:rv1106", "fits", "failed", **INT8, cpu_ops=("Sin",), cause="it costs time"),
    cell("b", "rknn:rv1106", "fits", "failed", **INT8, cpu_ops=("Sin",), cause="it may refuse"),
    cell("c", "rknn:rv1106", "fits", "failed", precision="int8", sqnr_db=-4.0, cpu_ops=()),
    cell("d", "mnn", "fits", "failed", precision="float16", sqnr_db=39.0),
]


def test_scores() -> None:
    """Only what was found out counts: no refusals, and no errors of an unclear answer."""
    errors, fallbacks = score_errors(CELLS), score_fallbacks(CELLS)
    assert (errors.n, errors.hits, errors.false_alarms, errors.misses) == (8, 1, 1, 3)
    assert errors.precision == 0.5 and errors.recall == 0.25
    assert (fallbacks.n, fallbacks.hits, fallbacks.false_alarms, fallbacks.misses) == (6, 1, 1, 3)
    nothing = score_errors(CELLS[:1])
    assert nothing.precision is None and nothing.recall is None


def test_the_table_says_where_predictions_were_wrong() -> None:
    lines = to_markdown(CELLS).splitlines()
    assert "| `mnn` | float32 | 2 | 1 | 0.00 | 0.00 |  |  |  |  |" in lines
    assert "| all |  | 8 | 4 | 0.50 | 0.25 | 6 | 4 | 0.50 | 0.25 |" in lines
    wrong = "**wrong**, error not predicted"
    assert lines[-5:] == [
        "| `a` |  | ok | **ok**, predicted: error |  | **ok**, predicted: CPU | lossy |",
        f"| `b` |  | error |  |  | **CPU**, CPU not predicted | {wrong} |",
        f"| `b` | 3x8x8 |  | {wrong} |  |  |  |",
        f"| `c` |  | inconclusive | refused |  | inconclusive | {wrong} |",
        "| `d` |  |  |  | lossy |  |  |",
    ]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    assert read_cells(path) == []
    write_cells(CELLS[::-1], path)
    found = read_cells(path)
    assert {c.key: c for c in found} == {
        c.key: c.replace(sqnr_db=None if c.sqnr_db is None else round(c.sqnr_db, 1)) for c in CELLS
    }
    assert [c.target for c in found[:3]] == ["onnxruntime", "mnn", "rknn:rk3588"]
    path.write_text("[[cell]]\nnetwork = 1\n")
    with pytest.raises(EdgearkError, match=r"results\.toml: cell\.0"):
        read_cells(path)


class Scaled(nn.Module):
    """A branch behind a layer scale, and one behind a norm whose weights begin at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        nn.init.zeros_(self.norm.weight)
        self.gamma = nn.Parameter(torch.full((8, 1, 1), 1e-6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.gamma * self.norm(x) + self.norm(2 * x)


def test_an_untrained_networks_branches_are_open_and_a_trained_one_stays() -> None:
    source = open_source(Scaled(), InputOptions(shapes="3x16x16"))
    settle(source)
    with torch.no_grad():
        answers = source.model(torch.rand(4, 3, 16, 16))
    assert source.model.gamma.unique().tolist() == [1.0]
    assert source.model.norm.running_mean.any() and answers.std() > 0.1
    before = {name: value.clone() for name, value in source.model.state_dict().items()}
    before["gamma"] = source.model.gamma.data.uniform_(1e-6, 1e-5).clone()
    settle(source)
    after = source.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_list_beside_its_networks(nets: Path, tmp_path: Path, run: Run) -> None:
    """Predicted and real: a clean network, and one that the rules refuse.

    The engine is asked about what the rules refuse; a network that cannot be traced is asked of
    nobody. One that cannot be opened does not stop the others. An ONNX file is written for its row.
    """
    installed_target("mnn")
    names = ("Missing", "clean", "divided", "Branching")
    text = "".join(
        f'[[network]]\nname = "nets.py:{name}"\ninput_shape = "3x16x16"\n' for name in names
    )
    text += '[[network]]\nname = "nets.py:clean"\ninput_shape = "3x16x16"\nform = "onnx"\n'
    (tmp_path / "list.toml").write_text(text)
    file = tmp_path / "found.toml"
    done = run(
        *("conformance", tmp_path / "list.toml", "--to", "onnxruntime,mnn", "--limit", 4),
        *("--file", file, "--json"),
    )
    assert done.status == 2 and "nets.py has no Missing" in done.err
    cells = {(c["network"], c["target"], c["precision"]): c for c in done.json["cells"]}
    assert len(cells) == 12
    as_onnx = cells["nets.py:clean as ONNX", "onnxruntime", "float32"]
    assert (
        as_onnx["real"] == "ok" and as_onnx["evidence"] == "executed on noise against onnxruntime"
    )
    clean = cells["nets.py:clean", "onnxruntime", "float32"]
    assert clean["predicted"] == "fits" and clean["real"] == "ok" and clean["sqnr_db"] > 75
    assert clean["evidence"] == "executed on noise" and clean["versions"]
    divided = cells["nets.py:divided", "onnxruntime", "float32"]
    assert divided["predicted"] == "error" and divided["error_rules"] == ["divisor-override"]
    assert divided["real"] in ("failed", "error") and divided["cause"]
    for (name, *_), each in cells.items():
        assert name != "nets.py:Branching" or each["real"] == "refused"
        assert str(tmp_path) not in each["cause"] and "\n" not in each["cause"]
    assert done.json["errors"]["n"] == 9 and done.json["errors"]["recall"] == 1.0
    shown = run("conformance", "--show", "--file", file)
    assert shown.status == 0 and "| `nets.py:clean` | 3x16x16 | ok | ok | ok |" in shown.out


def test_a_killed_run_goes_on_and_dying_engines_are_rows(
    site: Path, nets: Path, tmp_path: Path
) -> None:
    file, hanging = tmp_path / "found.toml", tmp_path / "hanging"
    network = (f"{nets}:clean", "--input-shape", "3x16x16", "--limit", 4, "--file", file)
    killed = command(site, tmp_path, *network, "--to", "onnxruntime,hangs")
    while not (hanging.exists() and read_cells(file)):
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    (kept,) = read_cells(file)
    assert (kept.target, kept.real) == ("onnxruntime", "ok")
    wait_for_end(int(hanging.read_text()))

    marked = kept.replace(sqnr_db=1.0, error_rules=("gone",), predicted="error")
    write_cells([marked], file)
    targets = "onnxruntime,dies,hangs,doubles"
    resumed = command(site, tmp_path, *network, "--to", targets, "--timeout", 2, "--json")
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    cells = {c["target"]: c for c in json.loads(out)["cells"]}
    assert cells["onnxruntime"]["sqnr_db"] == 1.0, "it was measured again"
    assert cells["onnxruntime"]["predicted"] == "fits", "what rules say is brought up to date"
    assert cells["dies"]["real"] == "error" and "SIGSEGV" in cells["dies"]["cause"]
    assert cells["hangs"]["real"] == "stopped" and "2 s" in cells["hangs"]["cause"]
    assert cells["doubles"]["real"] == "failed" and cells["doubles"]["sqnr_db"] < 40
    assert json.loads(out)["errors"]["misses"] == 2


def wait_for_end(pid: int) -> None:
    """Until a process is gone, or waits for nothing but its parent's look."""
    for _ in range(200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except OSError:
            return
        time.sleep(0.05)
    raise AssertionError("the network's process outlives the command")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name networks"),
        (("nothing.toml",), "there is no nothing.toml"),
        (("bad.toml",), "bad.toml: network.0.name"),
        (("mnits",), "did you mean mnist"),
        (("net.onnx",), "there is no file net.onnx"),
    ],
)
def test_a_slip_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("[[network]]\ninput_shape = '3x8x8'\n")
    done = run("conformance", *arguments, "--to", "onnxruntime", "--file", "found.toml")
    assert done.status == 2 and said in done.err and not done.out
    assert not Path("found.toml").exists()


def test_the_document_shows_what_was_measured() -> None:
    """Else: edgeark conformance --show."""
    text = (ROOT / "docs/conformance.md").read_text(encoding="utf-8")
    assert to_markdown(read_cells()) in text


def test_the_shipped_predictions_are_those_of_the_rules(tmp_path: Path, run: Run) -> None:
    """Of one network. Else: edgeark conformance benchmarks/conformance.toml --predict."""
    shipped = [c for c in read_cells() if c.network == "torchvision:mobilenet_v3_small"]
    assert shipped
    file = tmp_path / "found.toml"
    unknown = [c.replace(predicted="fits", error_rules=(), fallback_rules=()) for c in shipped]
    write_cells(unknown, file)
    done = run(
        *("conformance", shipped[0].network, "--input-shape", shipped[0].input_shape),
        *("--to", ",".join({c.target for c in shipped}), "--int8", "--predict", "--file", file),
    )
    assert done.status == 0, done.err
    assert read_cells(file) == shipped
