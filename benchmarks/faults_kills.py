"""Commands that are killed at any moment, and what must be true afterwards; for ``faults.py``."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from faults_inputs import Good
from faults_process import run_forked
from PIL import Image

_ENDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
_KILLS = 10  # of each command, before it may come to its end


@dataclass(frozen=True)
class Job:
    """A command and what it writes; ``is_whole`` looks at that, and raises where it is not."""

    command: list[str]
    output: Path
    is_whole: Callable[[Path], None]


def make_jobs(good: Good, out: Path) -> list[Job]:
    """One of every command that writes."""
    exports, weights = good.root / "exports", ["--weights", str(good.root / "w.safetensors")]
    export = next(path.parent for path in exports.rglob("model.onnx"))
    images = out / "images"
    images.mkdir(parents=True)
    for index in range(40):
        Image.open(good.root / "a.png").save(images / f"{index}.png")
    to, shape = ["--to", "onnxruntime"], ["--input-shape", "3x16x16"]
    listed = f"{good.root / 'net.py'}:Net"
    return [
        Job(
            ["export", "mnist_kpu", *weights, *to, "--limit", "20", "--out", str(out / "exports")],
            out / "exports",
            _exports_are_whole,
        ),
        Job(
            ["train", str(good.root / "recipe.toml"), "--out", str(out / "run")],
            out / "run" / "last.ckpt",
            _checkpoint_is_whole,
        ),
        Job(
            ["bundle", str(export), "--lang", "python,cpp", "--out", str(out / "bundle")],
            out / "bundle",
            _bundle_is_whole,
        ),
        Job(
            ["report", str(exports), "--measure", "--out", str(out / "r.html")],
            out / "r.html",
            _page_is_whole,
        ),
        Job(
            ["conformance", listed, *shape, *to, "--again", "--file", str(out / "cells.toml")],
            out / "cells.toml",
            _tables_are_whole,
        ),
        Job(
            ["data", str(good.root / "data"), "--out", str(out / "sheet.png")],
            out / "sheet.png",
            _image_is_whole,
        ),
        Job(
            ["run", "mnist_kpu", *weights, "--image", str(images), "--out", str(out / "drawn")],
            out / "drawn",
            _images_are_whole,
        ),
    ]


def kill(good: Good, root: Path, seconds: float, rng: random.Random) -> tuple[int, int]:
    """Every command killed at random moments, then done again: (kills, lost).

    Lost is an output that is there and is not whole, a command that does not come to its end
    afterwards, and what dead processes have left behind by then.
    """
    kills = lost = number = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        out = root / f"killed-{number}"
        number += 1
        for job in make_jobs(good, out):
            if time.monotonic() > until:
                break
            longest = 20.0
            for _ in range(_KILLS):
                start, seconds = time.monotonic(), rng.uniform(0.0, longest)
                end = run_forked(_resumed(job), out, seconds=seconds, ends_by=rng.choice(_ENDS))
                kills += end.was_ended
                if not end.was_ended:  # it was quicker
                    longest = time.monotonic() - start
                lost += _is_lost(job, must_exist=False)
            end = run_forked(_resumed(job), out)
            if end.status != 0:
                lost += 1
                _say(f"after a kill: {' '.join(job.command)}: {end.words.strip()[-300:]}")
            lost += _is_lost(job, must_exist=True)
        for left in _left_behind(out):
            lost += 1
            _say(f"left behind: {left}")
    return kills, lost


def _resumed(job: Job) -> list[str]:
    """As a user types it again: a training goes on, and a bundle wants a new folder."""
    if job.command[0] == "train" and job.output.exists():
        return [*job.command, "--resume"]
    if job.command[0] == "bundle" and job.output.exists():
        for path in sorted(job.output.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    return job.command


def _is_lost(job: Job, must_exist: bool) -> bool:
    if not job.output.exists():
        if must_exist:
            _say(f"nothing there: {job.output}")
        return must_exist
    try:
        job.is_whole(job.output)
    except Exception as error:  # noqa: BLE001 (whatever a broken file makes of its reader)
        _say(f"not whole: {job.output}: {type(error).__name__}: {error}")
        return True
    return False


def _left_behind(out: Path) -> list[Path]:
    """Folders and files of work in progress that the last command should have collected."""
    scratch = list(Path(tempfile.gettempdir()).glob("edgeark-scratch-*"))
    hidden = [path for path in out.rglob(".*") if path.name != ".lock"]
    return [*scratch, *hidden, *out.rglob("*.part"), *out.rglob("*.tmp")]


def _exports_are_whole(folder: Path) -> None:
    from edgeark.export.verify import find_exports

    for manifest in folder.rglob("manifest.json"):
        if not any(part.startswith(".") for part in manifest.relative_to(folder).parts):
            for export in find_exports(manifest.parent):
                if changed := export.changed_files():
                    raise ValueError(f"changed: {changed}")
                export.golden()


def _checkpoint_is_whole(path: Path) -> None:
    import torch

    torch.load(path, weights_only=True, map_location="cpu")


def _bundle_is_whole(folder: Path) -> None:
    if not any(folder.iterdir()):
        return
    facts = json.loads((folder / "model.json").read_text())
    names = [each["name"] for each in facts["files"]]
    for name in [*names, "README.md", "python/run.py", "cpp/model.h", facts["golden"]["pixels"]]:
        if not (folder / name).stat().st_size:
            raise ValueError(f"{name} is empty")


def _page_is_whole(path: Path) -> None:
    if not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError("it has no end")


def _tables_are_whole(path: Path) -> None:
    from edgeark.export.conformance import read_cells

    read_cells(path)


def _images_are_whole(folder: Path) -> None:
    for path in folder.rglob("*.png"):
        _image_is_whole(path)


def _image_is_whole(path: Path) -> None:
    with Image.open(path) as image:
        image.load()


def _say(line: str) -> None:
    sys.stderr.write(line + os.linesep)
