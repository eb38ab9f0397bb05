"""On a Ray cluster: what a killed worker had begun is begun again, and nothing is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from edgeark.export.matrix import read_results
from uv import find_uv_bin

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ray's packages; uv links them from its cache."""
    folder = tmp_path_factory.mktemp("ray")
    command = [find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable]
    listed = Path(__file__).parent / "requirements.txt"
    command += ["--target", str(folder), "--require-hashes", "-r", str(listed)]
    subprocess.run(command, check=True)
    return folder


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}


class Cluster:
    """Two workers of one CPU each."""

    def __init__(self, site: Path) -> None:
        self.site = site
        self.process = subprocess.Popen(
            [sys.executable, TESTS / "support/ray_cluster.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(site),
            text=True,
        )
        self.address = self._answer()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def kill_a_worker(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        return int(self._answer())

    def start(self, folder: Path, *words: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "edgeark", *map(str, words), "--ray", self.address],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(self.site),
            text=True,
        )


def test_another_server_is_no_cluster(site: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections, and says nothing
        address = f"127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "edgeark", "matrix", "--ray", address]
        done = subprocess.run(
            command, env=environment(site), capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 2 and not done.stdout
    assert done.stderr == f"error: what answers at {address} is no Ray cluster\n"


@pytest.fixture(scope="module")
def cluster(site: Path) -> Iterator[Cluster]:
    made = Cluster(site)
    yield made
    made.process.communicate(timeout=60)


@pytest.mark.slow
def test_a_matrix_survives_a_killed_worker(cluster: Cluster, tmp_path: Path) -> None:
    words = ("--models", "mnist_kpu,mnist", "--to", "torchscript,onnxruntime", "--limit", 20)
    process = cluster.start(tmp_path, "matrix", *words, "--file", "results.toml", "--json")
    assert process.stderr is not None and process.stdout is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("1/6 "):
            cluster.kill_a_worker()
    rows = json.loads(process.stdout.read())
    assert process.wait() == 0, said
    places = [("torchscript", "float32"), ("onnxruntime", "float32"), ("onnxruntime", "int8")]
    wanted = [(model, *place) for model in ("mnist_kpu", "mnist") for place in places]
    assert [(row["model"], row["target"], row["precision"]) for row in rows] == wanted
    recorded = read_results(tmp_path / "results.toml")
    assert {r.key for r in recorded} == set(wanted) and {r.status for r in recorded} == {"ok"}
    assert "A worker died or was killed" in "".join(said)


@pytest.mark.slow
def test_trainings_survive_a_killed_worker(
    cluster: Cluster, tmp_path: Path, write_recipe: Callable[..., Path]
) -> None:
    epochs = 6
    recipe = write_recipe(epochs=epochs)
    process = cluster.start(tmp_path, "train", recipe, "--seeds", "0,1", "--out", "all", "--json")
    folders = [tmp_path / "all" / f"mnist_kpu-seed{seed}" for seed in (0, 1)]
    deadline = time.monotonic() + 300
    while not all((folder / "last.ckpt").exists() for folder in folders):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    cluster.kill_a_worker()
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0 and "A worker died or was killed" in err, err
    reports = json.loads(out)
    assert [(r["seed"], r["epochs"], r["folder"]) for r in reports] == [
        (seed, epochs, str(folder)) for seed, folder in enumerate(folders)
    ]
    for folder, report in zip(folders, reports, strict=True):
        rows = (folder / "log.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows[1:]] == [str(e + 1) for e in range(epochs)]
        assert report["test"] > 0.4, "chance is 0.1"
