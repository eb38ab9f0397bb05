"""More kinds of bad input, of commands that read results, boards' reports, folders and films."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from faults_inputs import ODD, Good, copy_export, sign, spoil_bytes, spoil_file, spoil_value
from PIL import Image

CELL = """[[cell]]
network = "mnist_kpu"
input_shape = ""
target = "onnxruntime"
precision = "float32"
predicted = "fits"
error_rules = []
fallback_rules = []
real = "ok"
evidence = "executed on noise"
sqnr_db = 105.0
cause = ""

[cell.versions]
onnxruntime = "1.31.1"
"""
LIST = """[[network]]
name = "net.py:Net"
input_shape = "3x16x16"

[[network]]
name = "mnist_kpu"
"""
SPEC = """task = "classification"
classes = ["a", "b", "c", "d"]
input_shape = "3x16x16"
mean = [0.0, 1.0, 2.0]
std = [255.0, 255.0, 255.0]
color = "rgb"
"""
DETECTOR = """task = "detection"
classes = ["a", "b"]
input_shape = "3x16x16"
head = "yolov5"
strides = [8]
anchors = [[[10.0, 13.0], [16.0, 30.0]]]
score_threshold = 0.3
iou_threshold = 0.5
max_boxes = 10
"""
_WORDS = ["nan", "inf", "-inf", "-1", "0", "1e300", '""', "[]", "{}", "true", "1979-05-27", "[["]
_WORDS += ["[nan]", "[1, 2]", '"\\u0000"', '"../victim"', "99999999999999999999", '"none"', "1.5"]


def _spoil_toml(text: str, rng: random.Random) -> bytes:
    """A line with another value, none, or twice; or bytes that are no text."""
    if rng.random() < 0.25:
        return spoil_bytes(text.encode(), rng)
    lines = text.splitlines()
    index = rng.choice([number for number, line in enumerate(lines) if line])
    key = lines[index].partition("=")[0]
    lines[index] = rng.choice([f"{key}= {rng.choice(_WORDS)}", "", f"{lines[index]}\n" * 2])
    return ("\n".join(lines) + "\n").encode()


def _spoil_export(good: Good, folder: Path, outside: Path, rng: random.Random) -> Path:
    """One with a wrong manifest, wrong vectors, a link in place of a file, or a wrong file."""
    export = copy_export(good, folder, rng)
    manifest = export / "manifest.json"
    value = json.loads(manifest.read_text())
    path = export / rng.choice([*(file["name"] for file in value["files"]), "golden.npz"])
    kind = rng.randrange(5)
    if kind == 0:
        manifest.write_text(json.dumps(spoil_value(value, rng)))
    elif kind == 1:
        spoil_file(path, rng)
        sign(export)
    elif kind == 2:
        content = path.read_bytes()
        link = outside / f"linked-{path.name}"
        link.write_bytes(content)
        path.unlink()
        path.symlink_to(link)
    elif kind == 3:
        with np.load(export / "golden.npz") as file:
            arrays = {name: file[name] for name in file.files}
        name = rng.choice(list(arrays))
        arrays[name] = rng.choice([arrays[name] * np.float32(1e30), arrays[name][:1]])
        np.savez(export / "golden.npz", **arrays)
        sign(export)
    else:
        section = rng.choice(["head", "input", "outputs", "golden", "settings", "tensors"])
        manifest.write_text(json.dumps({**value, section: spoil_value(value[section], rng)}))
    return export


def bundles(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    export = _spoil_export(good, folder, outside, rng)
    words = ["bundle", str(export), "--lang", rng.choice(["python", "cpp", "cpp,python", "", "c"])]
    return [*words, "--out", str(folder / rng.choice(["out", "out", "net.py/out", "float32"]))]


def reports(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    export = _spoil_export(good, folder, outside, rng)
    name = rng.choice(["r.html", "r.html", "r.txt", "none/r.html", "."])
    words = ["report", str(export), "--out", str(folder / name)]
    return words + rng.choice([["--measure"], []])


def boards(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """What a board says of an export, spoilt; also as figures that would loosen the verdict."""
    export = copy_export(good, folder, rng)
    report: Any = _board_report(export)
    for _ in range(rng.randrange(1, 3)):
        report = spoil_value(report, rng)
    text = json.dumps(report).encode()
    (folder / "board.json").write_bytes(spoil_bytes(text, rng) if rng.random() < 0.2 else text)
    return ["verify", str(export), "--board", str(folder / "board.json")]


def _board_report(export: Path) -> dict[str, Any]:
    manifest = json.loads((export / "manifest.json").read_text())
    with np.load(export / "golden.npz") as file:
        pixels = np.ascontiguousarray(file["input"])
    difference = {"max_abs_error": 1e-6, "sqnr_db": 100.0, "peak": 1.0}
    return {
        "schema": 1,
        **{name: manifest[name] for name in ("model", "target", "precision")},
        "files": [{name: file[name] for name in ("name", "sha256")} for file in manifest["files"]],
        "golden": {"count": len(pixels), "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()},
        "differences": {"export": difference, "pytorch": difference},
        "infer_ms": {"median": 1.0, "least": 0.5},
        "runtime": {"name": "onnxruntime", "version": "1"},
        "program": "python",
        "machine": {"architecture": "aarch64"},
    }


def cells(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """Files of ``conformance``, and lists of its networks."""
    file, names = folder / "conformance.toml", folder / "nets.toml"
    shutil.copy(good.root / "net.py", folder)
    file.write_bytes(_spoil_toml(CELL, rng) if rng.random() < 0.6 else CELL.encode())
    if rng.random() < 0.5:
        return ["conformance", "--show", "--file", str(file), *rng.choice([["--json"], []])]
    names.write_bytes(_spoil_toml(LIST, rng))
    given = ["conformance", str(names), "--predict", "--file", str(file)]
    return [*given, "--to", rng.choice(["onnxruntime", "tflm", "mnn,k210", "none", ""])]


def results(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """Files of ``matrix``."""
    from edgeark.core.catalog import WEIGHTS_DIR

    whole = (WEIGHTS_DIR / "results.toml").read_text(encoding="utf-8").split("[[result]]")
    text = whole[0] + "[[result]]" + rng.choice(whole[1:])
    (folder / "results.toml").write_bytes(_spoil_toml(text, rng))
    return ["matrix", "--show", "--file", str(folder / "results.toml")]


def specs(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    (folder / "spec.toml").write_bytes(_spoil_toml(rng.choice([SPEC, DETECTOR]), rng))
    if rng.random() < 0.05:
        (folder / "spec.toml").unlink()
        (folder / "spec.toml").symlink_to(rng.choice(["/dev/zero", "/proc/self/mem", "."]))
    given = [f"{good.root / 'net.py'}:Net", "--spec", str(folder / "spec.toml")]
    image = ["--image", str(good.root / "a.png"), "--json"]
    return rng.choice(
        [["check", *given, "--to", "onnxruntime,tflm"], ["run", *given, *image], ["info", *given]]
    )


def folders(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """``run`` on folders in which something is no image, and on arrays."""
    images = folder / "images"
    images.mkdir()
    for suffix in ("png", "jpg", "bmp"):
        shutil.copy(good.root / f"a.{suffix}", images)
    path = images / rng.choice(["a.png", "a.jpg", "sub/../b.png", "c.npy", "d.npz"])
    if path.suffix == ".npy":
        odd = [np.zeros((3, 40, 30)), np.full((40, 30, 3), np.nan), np.zeros(0), np.zeros((), "U3")]
        np.save(path, rng.choice(odd), allow_pickle=False)
    elif path.suffix == ".npz":
        np.savez_compressed(path, **{rng.choice(["input", "x", "../victim"]): np.zeros((9, 9))})
    elif path.exists():
        spoil_file(path, rng)
    else:
        (images / "b.png").symlink_to(
            rng.choice([images, outside / "victim", "/dev/zero", "b.png"])
        )
    out = rng.choice(["drawn", "drawn", "images", "a.png", "images/a.png/x"])
    network = ["mnist_kpu", "--weights", str(good.root / "w.safetensors")]
    given = ["run", *network, "--image", str(images), *rng.choice([["--json"], ["--limit", "2"]])]
    return [*given, *rng.choice([["--out", str(folder / out)], []])]


def films(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """``run`` on a film; without OpenCV for this Python it is one line that says so."""
    film = folder / rng.choice(["a.mp4", "a.avi", "a.mkv", "a.webm"])
    source = good.root / "film.avi"
    film.write_bytes(spoil_bytes(source.read_bytes(), rng) if source.exists() else b"no film")
    network = ["mnist_kpu", "--weights", str(good.root / "w.safetensors"), "--limit", "5"]
    out = rng.choice(["out.mp4", "out.avi", "drawn", "out.png", "out.webm"])
    return ["run", *network, "--image", str(film), "--out", str(folder / out)]


def sheets(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """``data`` with a contact sheet, on folders and zips of any kind."""
    data = shutil.copytree(good.root / "data", folder / "data")
    files = sorted(path for path in data.rglob("*") if path.is_file())
    for path in rng.sample(files, rng.randrange(1, 4)):
        if path.suffix == ".png" and rng.random() < 0.3:
            Image.new(rng.choice(["1", "L", "RGBA", "I;16"]), (rng.choice([1, 3000]), 2)).save(path)
        elif rng.random() < 0.3:
            path.unlink()
            path.symlink_to(rng.choice([outside / "victim", Path("/dev/zero"), path.parent]))
        else:
            spoil_file(path, rng)
    given = str(data)
    if rng.random() < 0.4:
        given = shutil.make_archive(str(folder / "z"), "zip", data)
        spoil_file(Path(given), rng)
    format_ = rng.choice(["yolo", "voc", "coco_json", "image_folder", "mask_folder", "none", ""])
    kind = rng.choice([[], ["--dataset", format_]])
    sheet = folder / rng.choice(["s.png", "s.html", "s.txt", "sheet", "data"])
    return ["data", given, *kind, "--out", str(sheet)]


def machines(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """``doctor`` and ``targets`` on machines with something odd in their environment."""
    from edgeark.core.settings import CACHE_VARIABLE
    from edgeark.training.data.sources import DATA_VARIABLE

    cache = folder / "cache"
    kind = rng.randrange(4)
    if kind == 0:
        cache.write_bytes(rng.randbytes(9))
    elif kind == 1:
        cache.symlink_to(rng.choice(["cache", "none", "/dev/null"]))
    elif kind == 2:
        for name in ("mnn", "tflm", "toolchains", "logs"):
            (cache / name).mkdir(parents=True, exist_ok=True)
            (cache / name / rng.choice(["installed.json", "bin", "faults.log"])).mkdir()
    words = [f"{CACHE_VARIABLE}={rng.choice([str(cache), 'a' * 5000, '/proc/x', '~none'])}"]
    words.append(f"{DATA_VARIABLE}={rng.choice(['', '/dev/null', str(folder), 'none'])}")
    words.append(f"PATH={rng.choice(['', '/dev/null', '/usr/bin'])}")
    return [*words, *rng.choice([["doctor"], ["doctor", "--json"], ["targets"]])]


def tensors(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """``run`` on arrays: pickles, sizes that were never written, and zips that grow."""
    path = folder / rng.choice(["a.npy", "a.npz"])
    kind = rng.randrange(4)
    if kind == 0:
        header = {"descr": rng.choice(["<f4", "|O", "<f8", "U9"]), "fortran_order": False}
        shape = rng.choice([(10**12,), (3, 16, 16), (-1, 4), (2**40, 2**40), (3, 10**6, 10**6)])
        with path.with_suffix(".npy").open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            file.write(bytes(64))
        path = path.with_suffix(".npy")
    elif kind == 1:
        np.savez_compressed(path.with_suffix(".npz"), input=np.zeros((3, 16, 2_000_000), np.uint8))
        path = path.with_suffix(".npz")
    elif kind == 2:
        value = rng.choice([ODD[:5], {"a": 1}, [[1], [2, 3]]])
        np.save(path.with_suffix(".npy"), np.array(value, dtype=object), allow_pickle=True)
        path = path.with_suffix(".npy")
    else:
        np.savez(path.with_suffix(".npz"), input=np.zeros((1, 3, 16, 16), np.float32))
        path = path.with_suffix(".npz")
        spoil_file(path, rng)
    network = [f"{good.root / 'net.py'}:Net", "--input-shape", rng.choice(["3x16x16", "x=3x16x16"])]
    return ["run", *network, "--image", str(path)]


COMMANDS = (
    *(bundles, reports, boards, cells, results, specs),
    *(folders, films, sheets, machines, tensors),
)
