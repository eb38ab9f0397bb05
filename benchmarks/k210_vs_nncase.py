"""edgeark's K210 compiler beside nncase 1.9: ``python benchmarks/k210_vs_nncase.py [MODEL ...]``.

Both get the same network and the same calibration images; each is run in its own simulator and
compared with PyTorch on the test images of the model's data set. A model whose weights do not
ship has random ones, with batch normalisation's statistics from training images: its SQNR is
worth a look, its accuracy is none. Compiling is timed in CPU seconds, all processes together and
without the export to ONNX, since a busy machine changes those little. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from pathlib import Path

import torch
from edgeark.export.prepare import EvalContext, prepare
from edgeark.export.results.compare import compare, score, task_figures
from edgeark.export.targets import find_targets
from edgeark.export.targets.base import Conversion, Target
from edgeark.training.data import Frame, load_images
from edgeark.zoo import create_model, list_models
from edgeark.zoo.spec import spec_of
from edgeark.zoo.tasks.images import normalize
from torch import nn

MODELS = ("mnist_kpu", "mobilenet_v1_025", "vgg_kpu")
TARGETS = "k210,k210-nncase"


def untrained(name: str, data: Path | None) -> nn.Module:
    """Random weights, and the statistics of 64 training images."""
    torch.manual_seed(0)
    model = create_model(name)
    spec = spec_of(model)
    shape = spec.input_shape[1:]
    images = load_images(spec.dataset, "train", data, shape=shape, sample=64, frame=Frame.of(spec))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        x = normalize(images.images, spec.mean, spec.std)
        model.train()(torch.from_numpy(x))
    return model.eval()


def table_row(context: EvalContext, target: Target, trained: bool, folder: Path) -> str:
    """Convert, run, compare."""
    out, log = folder / target.folder_name, folder / "log.txt"
    out.mkdir()
    context.graph.onnx(11)  # both read this file: no part of compiling
    job = Conversion(context.graph, "int8", out, log, context.calibration.images)
    before = cpu_seconds()
    artifact = target.convert(job)
    seconds = cpu_seconds() - before
    outputs = target.run(artifact, context.test.images, log).outputs
    parity = compare(context.reference, outputs)
    spec, test = context.spec, context.test
    metric = score(spec, context.figures(len(test)), task_figures(spec, outputs, test), test)
    placement = target.placement(artifact)
    cells = [
        f"`{context.name}`{'' if trained else ', random'}",
        target.full_name,
        f"{artifact.size_bytes / 1024:.0f}",
        f"{100 * placement.npu_mac_fraction:.0f} %" if placement else "",
        f"{parity.sqnr_db:.1f}",
        f"{100 * metric.float:.2f} > {100 * metric.value:.2f} %" if trained else "",
        f"{metric.n}",
        f"{seconds:.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def cpu_seconds() -> float:
    """Of this process and its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int, default=1000, help="test images")
    arguments = parser.parse_args()
    say = sys.stdout.write
    say("| model | target | KiB | MACs on the KPU | SQNR dB | top-1, PyTorch > it | n | CPU s |\n")
    say("|---|---|--:|--:|--:|---|--:|--:|\n")
    for name in arguments.models:
        trained = name in list_models(pretrained=True)
        model = name if trained else untrained(name, arguments.data)
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            context = prepare(model, scratch, data=arguments.data, limit=arguments.limit)
            for target in find_targets(TARGETS):
                say(table_row(context, target, trained, scratch) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
