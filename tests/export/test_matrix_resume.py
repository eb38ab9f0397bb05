"""``edgeark matrix --resume``: a matrix that was stopped at any moment measures what is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from edgeark.errors import DataError
from edgeark.export.matrix import cells, measure, read_results, write_results
from edgeark.export.matrix.cells import Cell, OpenNetworks
from edgeark.export.matrix.measure import is_known
from edgeark.export.matrix.records import weights_digest
from edgeark.export.pipeline import silent
from edgeark.export.request import NetworkRequest
from edgeark.export.results.schema import MatrixResult, Metric
from edgeark.export.targets import find_target
from support.command import Run

WORDS = ("matrix", "--models", "mnist_kpu", "--to", "torchscript,onnxruntime", "--limit", "20")


def test_a_killed_matrix_goes_on(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "results.toml"
    command = [sys.executable, "-m", "edgeark", *WORDS, "--file", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"1/3 "):
            process.kill()
    assert process.wait() == -signal.SIGKILL
    before = read_results(path)
    assert [(r.target, r.status, r.limit) for r in before] == [("torchscript", "ok", 20)]

    done = run(*WORDS, "--file", path, "--resume", "--json")
    assert done.status == 0 and "kept 1 cells" in done.err and "measured 1" in done.err
    assert [row["target"] for row in done.json] == ["onnxruntime", "onnxruntime"]
    after = read_results(path)
    assert len(after) == 3 and before[0] in after
    again = run(*WORDS, "--file", path, "--resume", "--json")
    assert again.status == 0 and again.json == [] and "kept 2 cells" in again.err


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_says_how_to_go_on(
    jobs: int, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is recorded, what the others come to when they are stopped is not."""
    path, main = tmp_path / "results.toml", threading.main_thread()
    seconds = threading.Event()

    def work(cell: Cell, on_step: object) -> cells.CellResult:
        if cell.target == "torchscript":
            return cells.CellResult(results=(known(target="torchscript"),))
        while not path.exists():
            time.sleep(0.01)
        assert main.ident is not None
        signal.pthread_kill(main.ident, signal.SIGINT)
        seconds.wait(1)
        return cells.CellResult(results=(known(status="error", message="it was killed"),))

    monkeypatch.setattr(sys.modules["edgeark.export.matrix.measure"], "measure_cell", work)
    done = run(*WORDS, "--file", path, "--jobs", jobs)
    assert done.status == 130 and done.err.endswith("Aborted.\n")
    assert f"interrupted: 1 of 2 cells were measured and are in {path}" in done.err
    assert "go on with the same command and --resume" in done.err
    assert [r.target for r in read_results(path)] == ["torchscript"]


def known(**changes: Any) -> MatrixResult:
    fields: dict[str, Any] = {
        **{"model": "mnist_kpu", "target": "onnxruntime", "precision": "float32"},
        **{"status": "ok", "toolchain": {"a": "1"}, "weights": "0a", "limit": 20, **changes},
    }
    return MatrixResult.model_validate(fields)


METRIC = Metric(name="top1", float=1, value=1, n=20, dataset="digits")


@pytest.mark.parametrize(
    ("result", "limit", "is_kept"),
    [
        (known(), 20, True),
        (known(), None, False),
        (known(limit=0), None, True),
        (known(status="error", message="a kernel of 5x5"), 20, True),  # a result like others
        (known(status="failed"), 20, True),
        (known(status="unavailable"), 20, False),
        (known(weights="0b"), 20, False),
        (known(toolchain={"a": "2"}), 20, False),
        (known(limit=None), 20, False),
        (known(limit=None, metric=METRIC), 20, True),  # of an earlier release
        (known(limit=None, metric=METRIC), None, False),
        (known(limit=50, metric=METRIC), 50, True),  # a slow simulator got fewer
    ],
)
def test_what_is_known(result: MatrixResult, limit: int | None, is_kept: bool) -> None:
    assert is_known(result, "0a", {"a": "1"}, limit) is is_kept


def test_a_cell_that_lacks_a_precision_is_measured_again(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.toml"
    weights = weights_digest(NetworkRequest("mnist_kpu"))
    versions = find_target("onnxruntime").versions()
    rows = [
        known(weights=weights, toolchain=versions, precision=precision)
        for precision in ("float32", "int8")
    ]
    words = ("matrix", "--models", "mnist_kpu", "--to", "onnxruntime", "--limit", 20, "--file")
    write_results(rows, path)
    done = run(*words, path, "--resume", "--json")
    assert done.status == 0 and done.json == [] and read_results(path) == rows
    write_results([*rows[:1], known(model="other")], path)
    asked: list[str] = []
    monkeypatch.setattr(
        *(sys.modules["edgeark.export.matrix.measure"], "measure_cell"),
        lambda cell, **_: asked.append(cell.target) or cells.CellResult(fault="no data"),
    )
    done = run(*words, path, "--resume", "--json")
    assert asked == ["onnxruntime"] and done.status == 2 and "error: no data" in done.err
    write_results([rows[0], rows[1].replace(status="failed")], path)
    assert run(*words, path, "--resume").status == 1  # as when it was measured


def test_a_network_without_data_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    requests = [NetworkRequest("mnist", data=tmp_path / "nowhere"), NetworkRequest("mnist_kpu")]
    for jobs in (1, 2):
        done = measure(requests, "torchscript,onnxruntime", path, limit=10, jobs=jobs)
        (fault,) = done.faults
        assert fault.startswith("mnist: no mnist data set in")
        assert [(r.model, r.target) for r in done.rows] == [
            ("mnist_kpu", target) for target in ("torchscript", "onnxruntime", "onnxruntime")
        ]
    assert {r.model for r in read_results(path)} == {"mnist_kpu"}


class Request:
    """A network of which nothing is asked but when it is opened."""

    title = "network"

    def __init__(self, opened: list[str], name: str, is_there: bool = True) -> None:
        self.opened, self.name, self.is_there = opened, name, is_there

    def prepare(self, folder: Path, *, limit: int | None) -> str:
        self.opened.append(self.name)
        time.sleep(0.05)
        (folder / "graph").touch()
        if not self.is_there:
            raise DataError("no data")
        return self.name


def test_cells_of_a_network_share_it_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "weights_digest", lambda request: request.name)
    log: list[str] = []
    requests: list[Any] = [Request(log, "a"), Request(log, "b", is_there=False), Request(log, "c")]
    plan = [Cell(r.name, r, str(target)) for r in requests for target in range(4)]
    networks = OpenNetworks()
    failed = []

    def work(cell: Cell) -> None:
        try:
            with networks.use(cell, silent) as network:
                assert (network.context, network.weights) == (cell.network, cell.network)
                time.sleep(0.02)
        except DataError:
            failed.append(cell.network)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, plan))
    assert log == ["a", "b", "c"] and failed == ["b"] * 4
    networks.close()
    networks.close()
    with networks.use(plan[0], silent):
        assert log[3:] == ["a"]


def test_the_document_of_a_result_without_a_limit_is_as_before(tmp_path: Path) -> None:
    """Rows of earlier releases stay as they are when the file is written anew."""
    path = tmp_path / "results.toml"
    write_results([known(limit=None), known(precision="int8")], path)
    assert path.read_text().count("limit = 20") == 1
    assert json.loads(read_results(path)[0].model_dump_json())["limit"] is None
