"""Our networks beside the public ones: ``python benchmarks/inference.py --help``.

A pair is one network twice, with the same weights: ours as ``edgeark export --to onnxruntime``
writes it, and the public implementation as its users export it. Both run in this process on ONNX
Runtime with the same options and the same image, in turn. A round is one run of each, and what
counts is the median of the rounds' ratios, ours / theirs: what slows the machine slows both.

The pairs with Ultralytics' code, which is under the AGPL and no dependency of edgeark, run where it
can be imported; ``--ultralytics`` names the Python of another environment for it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import timm
import torch
import torch.nn.functional as F
import torchvision
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_passes import count_macs
from edgeark.export.targets.base import Conversion
from edgeark.zoo import create_model, spec_of
from edgeark.zoo.importers import from_timm, from_torchvision, from_ultralytics
from in_turn import ratio_quartiles, time_in_turn
from onnx import shape_inference
from torch import Tensor, nn
from ultralytics_onnx import settle

Load = Callable[[nn.Module, dict[str, Tensor]], nn.Module]


@dataclass(frozen=True)
class Pair:
    """Two ONNX files; ``equal``: they compute the same function."""

    name: str
    ours: Path
    theirs: Path
    equal: bool = True


class PlainUNet(nn.Module):
    """A UNet as tutorials write it: every size is asked of the skip at run time, and padded to."""

    def __init__(self, base: int, in_channels: int) -> None:
        super().__init__()
        skips, deepest = [base, 2 * base, 4 * base, 8 * base], 8 * base
        befores = [in_channels, *skips]
        self.down = nn.ModuleList(map(double_conv, befores, [*skips, deepest], [*skips, deepest]))
        deeps = [deepest, *skips[2::-1]]  # what each step doubles
        hidden = [(deep + skip) // 2 for deep, skip in zip(deeps, skips[::-1], strict=True)]
        inputs = [2 * h for h in hidden]
        self.up = nn.ModuleList(map(double_conv, inputs, hidden, [*skips[2::-1], base]))
        self.last = nn.Conv2d(base, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if i else x)
            skips.append(x)
        skips.pop()
        for block in self.up:
            skip = skips.pop()
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            dy, dx = skip.shape[2] - x.shape[2], skip.shape[3] - x.shape[3]
            x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
            x = block(torch.cat([skip, x], dim=1))
        return self.last(x)


def double_conv(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((in_channels, hidden), (hidden, out_channels)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers)


def load_in_order(model: nn.Module, state: dict[str, Tensor]) -> nn.Module:
    """Weights of a network that has the same layers in the same order."""
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model


# Ours, theirs, and how the weights go over.
PAIRS: dict[str, tuple[str, Callable[[], nn.Module], Load]] = {
    "vgg16_bn / torchvision": ("vgg16_bn", torchvision.models.vgg16_bn, from_torchvision),
    "mobilenet_v2_100 / torchvision": (
        *("mobilenet_v2_100", torchvision.models.mobilenet_v2, from_torchvision),
    ),
    "mobilenet_v1_100 / timm": (
        *("mobilenet_v1_100", lambda: timm.create_model("mobilenetv1_100"), from_timm),
    ),
    "unet_32 / plain UNet": ("unet_32", lambda: PlainUNet(32, 1), load_in_order),
}
VARIANTS = ({"act": "relu"}, {"act": "hardswish"}, {"stem": "3x3"}, {"stem": "focus"})


def export_ours(model: nn.Module, folder: Path) -> Path:
    folder.mkdir(parents=True)
    graph = Graph(model, spec_of(model), folder)
    return OnnxRuntime().convert(Conversion(graph, "float32", folder, folder / "log.txt")).path


def make_pairs(folder: Path, wanted: str) -> Iterator[Pair]:
    """The pairs that need nothing which edgeark does not need."""
    for name, (ours_name, make_theirs, load) in PAIRS.items():
        if not fnmatch(name, wanted):
            continue
        torch.manual_seed(0)
        ours, theirs = create_model(ours_name), make_theirs()
        shape = spec_of(ours).input_shape
        load(ours, settle(theirs, shape).state_dict())
        path = export_ours(ours, folder / ours_name)
        usual = path.with_name("theirs.onnx")
        with contextlib.redirect_stdout(io.StringIO()):  # the exporter's progress
            torch.onnx.export(theirs, (torch.zeros(shape),), str(usual))
        yield Pair(name, path, usual)


def make_variants(folder: Path, wanted: str) -> Iterator[Pair]:
    """What other activations and stems would gain; yolov5n as it is takes their place."""

    def export(variant: dict[str, str]) -> Path:
        torch.manual_seed(0)
        model = create_model("yolov5n", **variant)
        settle(model, spec_of(model).input_shape)
        return export_ours(model, folder / "_".join(["yolov5n", *variant.values()]))

    plain = None
    for variant in VARIANTS:
        name = f"yolov5n {'='.join(*variant.items())} / yolov5n"
        if fnmatch(name, wanted):
            plain = plain or export({})
            yield Pair(name, export(variant), plain, equal=False)


def make_ultralytics_pairs(folder: Path, wanted: str, python: str) -> Iterator[Pair]:
    """yolov5n and s under their exporter: the same arithmetic, and their head of today."""
    child = Path(__file__).with_name("ultralytics_onnx.py").resolve()
    # It shall neither install anything nor leave its settings in the home folder.
    settings = {"YOLO_AUTOINSTALL": "False", "YOLO_OFFLINE": "True", "YOLO_CONFIG_DIR": str(folder)}
    for size in "ns":
        name = f"yolov5{size}"
        names = (f"{name} / Ultralytics, raw heads", f"{name} / Ultralytics {name}u")
        if not any(fnmatch(title, wanted) for title in names):
            continue
        theirs = folder / f"ultralytics_{size}"
        theirs.mkdir()
        command = [python, str(child), size, str(theirs)]
        environment = {**os.environ, **settings}
        subprocess.run(command, cwd=theirs, env=environment, check=True, stdout=subprocess.DEVNULL)
        model = create_model(name)
        from_ultralytics(model, torch.load(theirs / "raw.pt", weights_only=True))
        ours = export_ours(model, folder / f"ours_{size}")
        for title, file, equal in zip(names, ("raw.onnx", "u.onnx"), (True, False), strict=True):
            if fnmatch(title, wanted):
                yield Pair(title, ours, theirs / file, equal)


def sum_macs(path: Path) -> int:
    """Multiply-accumulates of a file's convolutions and matrix products."""
    proto = shape_inference.infer_shapes(onnx.load(path, load_external_data=False))
    return sum(count_macs(proto).values())


def make_run(path: Path, threads: int, x: np.ndarray) -> Callable[[], list[Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # A thread that waits sleeps: it would spin into the other's turn, and count as CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    return lambda: session.run(None, feed)


def check_equal(name: str, found: list[Any], wanted: list[Any]) -> None:
    for a, b in zip(found, wanted, strict=True):
        error, scale = np.abs(a.ravel() - b.ravel()).max(), np.abs(b).max()
        if not error <= 1e-4 * scale:
            raise SystemExit(f"{name}: the two differ by {error}, the largest value is {scale}")


def measure(pair: Pair, threads: int, seconds: float) -> str:
    """One row of the table."""
    shape = [d.dim_value for d in onnx.load(pair.ours).graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(0).random(shape, np.float32)
    runs = [make_run(path, threads, x) for path in (pair.ours, pair.theirs)]
    answers = [run() for run in runs]
    if pair.equal:
        check_equal(pair.name, *answers)
    rounds = time_in_turn(runs, seconds)
    wall, cpu = (
        f"**{middle:.3f}** ({low:.3f}-{high:.3f})"
        for low, middle, high in ratio_quartiles(rounds).T
    )
    ours, theirs = np.median(rounds[:, :, 0], axis=0) * 1e3
    return f"{threads} | {ours:.1f} | {theirs:.1f} | {wall} | {cpu} | {len(rounds)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20, help="for each pair and thread count")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pairs", default="*", help="a shell-style pattern of their names")
    parser.add_argument("--ultralytics", default=sys.executable, metavar="PYTHON")
    arguments = parser.parse_args()
    seek = "import importlib.util as u; raise SystemExit(u.find_spec('ultralytics') is None)"
    packages = ("onnxruntime", "torch", "torchvision", "timm")
    say(", ".join(f"{name} {version(name)}" for name in packages))
    say("| ours / theirs | GMACs | threads | ours ms | theirs ms | wall | CPU | rounds |")
    say("|---|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sources = [make_pairs(folder, arguments.pairs), make_variants(folder, arguments.pairs)]
        if subprocess.run([arguments.ultralytics, "-c", seek], check=False).returncode == 0:
            sources.append(make_ultralytics_pairs(folder, arguments.pairs, arguments.ultralytics))
        else:
            sys.stderr.write("Ultralytics' pairs are left out: it cannot be imported\n")
        for pair in (pair for source in sources for pair in source):
            macs = " / ".join(f"{sum_macs(p) / 1e9:.3g}" for p in (pair.ours, pair.theirs))
            for threads in arguments.threads:
                row = measure(pair, threads, arguments.seconds)
                say(f"| {pair.name} | {macs} | {row} |")


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
