"""What a training survives, what it keeps, and what it shows meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.training import scripts
from edgeark.training.checkpoint import load_checkpoint
from edgeark.training.classification import predict
from edgeark.training.config import load_recipe
from edgeark.training.data import ImageSet
from edgeark.training.progress import Progress
from edgeark.zoo import create_model
from rich.console import Console
from safetensors.torch import load_file
from support.training_runs import start_training

Write = Callable[..., Path]


def test_ctrl_c_ends_in_good_order(write_recipe: Write, tmp_path: Path) -> None:
    """Status 130, one line that says how to go on, and the best weights so far can be used."""
    recipe, out = write_recipe(epochs=500), tmp_path / "run"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    try:
        process = start_training(recipe, out)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(out / "last.ckpt", process)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130, messages
    assert b"go on with the same command and --resume" in b" ".join(messages.split())
    assert b"Traceback" not in messages
    create_model("mnist_kpu", weights=out / "best.safetensors")
    assert load_checkpoint(out / "last.ckpt")["epoch"] >= 1
    assert not [path for path in out.iterdir() if "partial" in path.name]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def test_a_disk_that_fills_up_keeps_the_last_epoch(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = load_recipe(write_recipe(epochs=3)), tmp_path / "run"
    scripts.train(recipe, tmp_path / "whole")
    write = torch.save

    def full_in_the_second(state: dict[str, object], path: Path) -> None:
        if state["epoch"] == 2:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        write(state, path)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full_in_the_second)
        with pytest.raises(EdgearkError, match=r"cannot write .*last\.ckpt.*is the disk full\?"):
            scripts.train(recipe, out)
    assert load_checkpoint(out / "last.ckpt")["epoch"] == 1
    create_model("mnist_kpu", weights=out / "best.safetensors")
    assert not [path for path in out.iterdir() if "partial" in path.name]

    scripts.train(recipe, out, resume=True)
    one, two = (load_file(run / "best.safetensors") for run in (tmp_path / "whole", out))
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_the_weights_that_are_kept_are_averaged(write_recipe: Write, tmp_path: Path) -> None:
    scripts.train(load_recipe(write_recipe(epochs=1)), tmp_path)
    state, kept = load_checkpoint(tmp_path / "last.ckpt"), load_file(tmp_path / "best.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in state["ema"].items())
    assert not torch.equal(kept["head.weight"], state["model"]["head.weight"])


def test_half_precision_learns_too(write_recipe: Write, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(epochs=8), precision="bf16-mixed")
    report = scripts.train(recipe, tmp_path)
    assert report.test is not None and report.test > 0.5
    kept = load_file(tmp_path / "best.safetensors")
    assert {v.dtype for v in kept.values() if v.is_floating_point()} == {torch.float32}


def test_progress_shows_throughput_and_the_time_left() -> None:
    screen = StringIO()
    bar = Progress(console=Console(file=screen, force_terminal=True, width=160))
    with bar.training(10, 0, "mnist"):
        for epoch in (1, 2):
            for batch in range(1, 5):
                time.sleep(0.02)
                bar.batch_done(batch, 4)
            row = {"epoch": epoch, "loss": 0.5, "lr": 1e-3, "samples_per_s": 1234.4, "top1": 0.9}
            bar.epoch_done(row)
        bar.batch_done(1, 4)
    shown = screen.getvalue()
    assert "3/10  loss 0.5000  1234/s  top1 0.9000" in shown
    (left,) = re.findall(r"\d\d:\d\d", shown[shown.rindex("3/10") :])
    assert "00:00" < left <= "00:05"


@pytest.mark.parametrize(("side", "most"), [(224, 27), (28, 500)])
def test_large_images_are_evaluated_a_few_at_a_time(side: int, most: int) -> None:
    """A network's maps are many times its input: 500 images of 224x224 took 3 GiB."""
    images = np.zeros((520 if side < 100 else 60, 3, side, side), np.uint8)
    labels = np.zeros(len(images), np.int64)
    sizes = []

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x.mean((2, 3))

    given = ImageSet("some", "test", images, labels, ("a", "b", "c"))
    assert predict(Net(), given, lambda x: x.float()).shape == (len(images), 3)
    assert max(sizes) == most
