"""Good inputs of every kind, and how each is spoilt; for ``faults.py``."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NET = "from torch import nn\nNet = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())\n"
RECIPE = """model = "mnist_kpu"
dataset = "digits"
script = "mnist"
epochs = 1
batch_size = 64
val_size = 100
[model_args]
width = 0.1
[optim]
lr = 1e-2
"""
ODD: list[Any] = [
    *(None, True, -1, 0, 1, 10**30, -(10**12), 1e308, float("nan"), float("inf"), "", "x" * 3000),
    *("../victim", "/../../outside/victim", "a\x00b", "\ud7ff", [], {}, [[]], [None], {"a": 1}),
    *([1, 2, 3], [1e9] * 4, "1", "nan", "float32", "onnxruntime", "rknn:rk3588", "none"),
]


@dataclass(frozen=True)
class Good:
    """Inputs that every command takes; they are copied before anything is done to them."""

    root: Path


def make_good(root: Path) -> None:
    """Write them."""
    from edgeark.export.kpu import write_kmodel  # noqa: F401
    from edgeark.export.pipeline import export_model
    from edgeark.export.sources import InputOptions
    from edgeark.zoo import create_model, save_weights

    root.mkdir()
    (root / "net.py").write_text(NET)
    (root / "recipe.toml").write_text(RECIPE)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    for suffix in ("png", "jpg", "bmp", "tiff", "gif", "webp"):
        Image.fromarray(pixels).save(root / f"a.{suffix}")
    model = create_model("mnist_kpu", width=0.1)
    save_weights(model, root / "w.safetensors")
    import torch

    torch.save(model.state_dict(), root / "w.pt")
    inputs = InputOptions(shapes="3x16x16")
    for target in ("onnxruntime", "torchscript", "tflm"):  # tflm: where it is installed
        network = f"{root / 'net.py'}:Net"
        export_model(network, [target], out=root / "exports", inputs=inputs, limit=4)
    model.spec = model.spec.__class__(**{**model.spec.__dict__, "dataset": "digits"})
    export_model(model, ["k210"], out=root / "exports", limit=4)
    shutil.copy(next(root.rglob("*.kmodel")), root / "a.kmodel")
    shutil.copy(next((root / "exports").rglob("model.onnx")), root / "net.onnx")
    shutil.copy(next((root / "exports").rglob("model.pt")), root / "net.pt")
    _make_data(root / "data", pixels)
    _make_film(root / "film.avi", pixels)


def _make_film(path: Path, pixels: np.ndarray) -> None:
    """Where OpenCV is installed."""
    with contextlib.suppress(ImportError):
        import cv2  # pyright: ignore[reportMissingImports]

        film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (32, 40))
        for index in range(8):
            film.write(
                np.ascontiguousarray(np.roll(np.pad(pixels, ((0, 0), (1, 1), (0, 0))), index, 0))
            )
        film.release()


def _make_data(folder: Path, pixels: np.ndarray) -> None:
    for part in ("images/train", "images/val", "labels/train", "labels/val"):
        (folder / part).mkdir(parents=True)
    for index in range(12):
        part = "train" if index < 8 else "val"
        Image.fromarray(np.roll(pixels, index, 0)).save(folder / "images" / part / f"{index}.png")
        (folder / "labels" / part / f"{index}.txt").write_text(f"{index % 2} 0.5 0.5 0.4 0.4\n")
    (folder / "classes.txt").write_text("one\ntwo\n")


# How content is spoilt.


def spoil_bytes(content: bytes, rng: random.Random) -> bytes:
    """Cut, flipped, repeated, or something else altogether."""
    kind = rng.randrange(6)
    data = bytearray(content)
    if kind == 0:
        return content[: rng.randrange(len(content) + 1)]
    if kind == 1:
        return rng.randbytes(rng.randrange(2000))
    if kind == 2:
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 64)] = bytes(rng.randrange(1, 64))
        return bytes(data)
    if kind == 3:
        start = rng.randrange(len(data))
        return bytes(data[:start] + data[rng.randrange(len(data)) :][:500] + data[start:])
    head = min(len(data), 300) if kind == 5 else len(data)  # headers hurt most
    for _ in range(rng.randrange(1, 20)):
        data[rng.randrange(head)] = rng.randrange(256)
    return bytes(data)


def spoil_value(value: Any, rng: random.Random) -> Any:
    """A JSON value with something odd somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: spoil_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        index = rng.randrange(len(value))
        return [*value[:index], spoil_value(value[index], rng), *value[index + 1 :]]
    return rng.choice(ODD)


def spoil_file(path: Path, rng: random.Random) -> None:
    path.write_bytes(spoil_bytes(path.read_bytes(), rng))


# Kinds of input: each writes into ``folder`` and returns the command's arguments.


def copy_export(good: Good, folder: Path, rng: random.Random) -> Path:
    """One of the good exports, to be spoilt."""
    exports = sorted(path.parent for path in (good.root / "exports").rglob("manifest.json"))
    return shutil.copytree(rng.choice(exports), folder / "float32")


def _read_or_verify(good: Good, export: Path, rng: random.Random) -> list[str]:
    image = ["--image", str(good.root / "a.png")]
    return rng.choice([["verify", str(export)], ["run", str(export), *image]])


def sign(export: Path) -> None:
    """Hashes that fit, as whoever makes a folder writes them."""
    path = export / "manifest.json"
    manifest = json.loads(path.read_text())
    for file in manifest["files"]:
        content = (export / file["name"]).read_bytes()
        file |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    content = (export / "golden.npz").read_bytes()
    manifest["golden"]["sha256"] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(manifest))


def manifests(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    export = copy_export(good, folder, rng)
    path = export / "manifest.json"
    if rng.random() < 0.2:
        spoil_file(path, rng)
    else:
        value = json.loads(path.read_text())
        for _ in range(rng.randrange(1, 4)):
            value = spoil_value(value, rng)
        path.write_text(json.dumps(value))
    return _read_or_verify(good, export, rng)


def golden(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    export = copy_export(good, folder, rng)
    path = export / "golden.npz"
    if rng.random() < 0.5:
        spoil_file(path, rng)
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        name = rng.choice(list(arrays))
        array = arrays.pop(name)
        odd = [array[:0], array[:1], array[..., :-1], array * np.float32(np.nan), array.astype("U")]
        if rng.random() < 0.8:
            arrays[name] = rng.choice(odd)
        np.savez(path, **arrays)
    sign(export)
    return ["verify", str(export)]


def artifacts(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    export = copy_export(good, folder, rng)
    name = json.loads((export / "manifest.json").read_text())["files"][0]["name"]
    spoil_file(export / name, rng)
    sign(export)
    return _read_or_verify(good, export, rng)


def programs(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    """TorchScript that writes to a file of the user's."""
    import zipfile

    export = shutil.copytree(next((good.root / "exports").rglob("torchscript")), folder / "ts")
    path = next(export.rglob("model.pt"))
    call = rng.choice(
        ["torch.from_file(%r, True, 10)", "torch . from_file(%r, True, 10)", "torch.save(x, %r)",
         "ops.aten.from_file(%r, True, 10)", "torch.fill_(torch.from_file(%r, True, 9), 7)"]
    )  # fmt: skip
    line = "    bad = " + call % str(outside / "victim") + "\n"
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            text = content
            if name.endswith(".py") and b"return" in content:
                text = content.replace(b"    return", line.encode() + b"    return", 1)
            archive.writestr(name, text)
    sign(path.parent)
    source = ["check", str(path), "--to", "onnxruntime", "--input-shape", "3x16x16"]
    return rng.choice([["verify", str(export)], source])


def images(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    path = Path(shutil.copy(rng.choice(sorted(good.root.glob("a.[pjbtgw]*"))), folder))
    if rng.random() < 0.15:
        sides = rng.choice([(1, 200_000), (300_000, 1), (20_000, 4_000), (1, 1)])
        Image.new(rng.choice(["L", "RGB", "1"]), sides).save(path := folder / "b.png")
    elif rng.random() < 0.1:
        path = Path(rng.choice(["/dev/zero", "/dev/null", str(folder), "/proc/self/mem"]))
    else:
        spoil_file(path, rng)
    weights = ["--weights", str(good.root / "w.safetensors")]
    return ["run", "mnist_kpu", *weights, "--image", str(path), "--json"]


def labels(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    data = shutil.copytree(good.root / "data", folder / "data")
    for _ in range(rng.randrange(1, 5)):
        path = rng.choice(sorted(p for p in data.rglob("*") if p.is_file()))
        if path.suffix == ".txt" and rng.random() < 0.5:
            words = [str(rng.choice(ODD)) for _ in range(rng.randrange(1, 8))]
            path.write_text(" ".join(words).replace("\x00", "0"), errors="replace")
        else:
            spoil_file(path, rng)
    return ["data", str(data), "--json"]


def weights(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    path = Path(shutil.copy(good.root / rng.choice(["w.safetensors", "w.pt"]), folder))
    if path.suffix == ".safetensors" and rng.random() < 0.5:
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        meta = header["__metadata__"]
        if rng.random() < 0.6:
            meta["edgeark_spec"] = json.dumps(spoil_value(json.loads(meta["edgeark_spec"]), rng))
        else:
            header = spoil_value(header, rng)
        words = json.dumps(header).encode()
        path.write_bytes(len(words).to_bytes(8, "little") + words + content[8 + size :])
    else:
        spoil_file(path, rng)
    image = ["--image", str(good.root / "a.png")]
    into = ["import", str(path), "--as", "mnist_kpu", "--out", str(folder / "o.safetensors")]
    return rng.choice([["run", "mnist_kpu", "--weights", str(path), *image], into])


def kmodels(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    path = Path(shutil.copy(good.root / "a.kmodel", folder))
    spoil_file(path, rng)
    return ["run", str(path), "--image", str(good.root / "a.png")]


def networks(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    path = Path(shutil.copy(good.root / rng.choice(["net.onnx", "net.onnx", "net.pt"]), folder))
    spoil_file(path, rng)
    return ["check", str(path), "--to", "onnxruntime,mnn", "--input-shape", "3x16x16"]


def recipes(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    lines = RECIPE.splitlines()
    index = rng.randrange(len(lines))
    odd = ["nan", "inf", "-1", "0", "1e300", '""', "[]", "{}", '"none"', "99999999999999999999"]
    odd += ["[1, 2]", '"\\u0000"', "true", "1979-05-27", "[[", "1.5"]
    if "=" in lines[index]:
        lines[index] = f"{lines[index].partition('=')[0]}= {rng.choice(odd)}"
    else:
        lines[index] = rng.choice(odd)
    (folder / "r.toml").write_text("\n".join(lines))
    if lines[index].partition("=")[0].strip() in ("", "lr", "width", "val_size"):
        return ["train", str(folder / "r.toml"), "--epochs", "0", "--out", str(folder / "run")]
    return ["train", str(folder / "r.toml"), "--out", str(folder / "run")]


def code(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    bodies = [
        *(
            "return None",
            "return 'x'",
            "return []",
            "raise SystemExit(0)",
            "raise ValueError('a\\nb')",
        ),
        *("return x.fft()", "return x[:, 5]", "return x.log() * float('nan')", "return (x,) * 500"),
        *("return {}", "return x.reshape(-1, 7)", "import sys; sys.exit()", "return x @ x.mT @ x"),
        *("return x.numpy()", "assert x.sum() > 0; return x", "return x.new_zeros(0)", "return 3"),
        *("return self.forward(x)", "return x.sum() if x.mean() > 0 else x", "1 / 0"),
    ]
    text = "from torch import nn\nclass Net(nn.Module):\n  def forward(self, x):\n    "
    text += rng.choice(bodies) + "\n"
    if rng.random() < 0.3:
        text = spoil_bytes(text.encode(), rng).decode("latin-1")
    (folder / "n.py").write_text(text, encoding="utf-8", errors="replace")
    network = [f"{folder / 'n.py'}:Net", "--to", "onnxruntime", "--input-shape", "3x16x16"]
    return rng.choice([["check", *network], ["export", *network, "--out", str(folder / "out")]])


def arguments(good: Good, folder: Path, outside: Path, rng: random.Random) -> list[str]:
    commands = "models info data recipes train new eval export import run verify bundle check"
    commands += " rewrite layers report matrix conformance doctor targets"
    given = [rng.choice(commands.split())]
    shutil.copy(good.root / "a.png", folder)
    options = (
        "--to --json --int8 --limit --input-shape --mean --std --image --images --weights --out "
        "--spec --jobs --lang --file --show --board --tool --metric --data"
    )
    words = [
        "mnist",
        "mnist_kpu",
        "unet_8",
        "none",
        "",
        "3x16x16",
        "0x0x0",
        "-1",
        "1e9",
        "nan",
        "🎈",
    ]
    words += ["onnxruntime", "rknn:rk9999", "all", "a" * 300, str(folder / "a.png"), "/dev/null"]
    words += [f"{good.root / 'net.py'}:Net", f"{good.root / 'net.py'}:None", "..", "timm:none"]
    for _ in range(rng.randrange(5)):
        given += rng.choice([[rng.choice(words)], [rng.choice(options.split()), rng.choice(words)]])
    long = ("train", "new", "eval", "export", "layers", "rewrite", "matrix", "conformance")
    if given[0] in long and len(given) < 3:
        given.append("--nothing")  # whole commands are no bad input, and take long
    limited = ("eval", "export", "layers", "matrix", "conformance", "bundle")
    return [*given, "--limit", "0"] if given[0] in limited else given


Kind = Callable[[Good, Path, Path, random.Random], list[str]]
INPUTS: tuple[Kind, ...] = (
    *(manifests, golden, artifacts, programs, images, labels),
    *(weights, kmodels, networks, recipes, code, arguments),
)
