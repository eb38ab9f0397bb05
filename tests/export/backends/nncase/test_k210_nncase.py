"""Two compilers of one chip on the same network and calibration, both against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion
from edgeark.zoo import list_models
from edgeark.zoo.spec import spec_of
from support.nncase_cases import SPEC, Subsampled, TwoHeads, make_images, set_batch_norm
from support.target_base import installed_target, prepared
from support.zoo_cases import MADE_FOR, create_small, family, ready
from torch import nn

TARGETS = ("k210", "k210-nncase")
_MADE_FOR_BOTH = [
    name
    for name in list_models(pretrained=True)
    if all(name in MADE_FOR[target] for target in TARGETS)
]
TRAINED = [*{family(name): name for name in reversed(_MADE_FOR_BOTH)}.values()]  # the smallest


@pytest.fixture(scope="module", autouse=True)
def toolchain() -> None:
    installed_target("k210-nncase")


def sqnr_of_both(
    graph: Graph, calibration: np.ndarray, images: np.ndarray, folder: Path
) -> tuple[float, float]:
    """Of edgeark's compiler and of nncase, in dB; the worst output counts."""
    found = []
    for name in TARGETS:
        target, out = find_target(name), folder / name
        out.mkdir()
        artifact = target.convert(Conversion(graph, "int8", out, out / "log.txt", calibration))
        outputs = target.run(artifact, images, out / "log.txt").outputs
        found.append(compare(graph.reference(images), outputs).sqnr_db)
    return found[0], found[1]


@pytest.mark.parametrize("network", [Subsampled, TwoHeads])
def test_made_for_the_test(network: type[nn.Module], tmp_path: Path) -> None:
    """Strides, depthwise, pools, three activations; a sum, two outputs."""
    model = ready(network(), 3, *SPEC.input_size)
    graph = Graph(model, SPEC, tmp_path)
    ours, theirs = sqnr_of_both(graph, make_images(16, 1), make_images(16, 2), tmp_path)
    assert ours > theirs - 1


@pytest.mark.parametrize("name", ["vgg_kpu", "unet_8"])
def test_small_and_random(name: str, tmp_path: Path) -> None:
    model = create_small(name)
    spec = spec_of(model)
    set_batch_norm(model, make_images(16, 3, spec))
    graph = Graph(model, spec, tmp_path)
    calibration, images = make_images(8, 1, spec), make_images(8, 2, spec)
    ours, theirs = sqnr_of_both(graph, calibration, images, tmp_path)
    assert ours > theirs - 1


@pytest.mark.parametrize("name", TRAINED)
def test_trained(name: str, tmp_path: Path) -> None:
    """Above nncase on MobileNet, whose depthwise layers are the hard part of int8."""
    context = prepared(name)
    calibration, images = context.calibration.images[::2], context.test.images[::3]
    ours, theirs = sqnr_of_both(context.graph, calibration, images, tmp_path)
    assert ours > (theirs if name.startswith("mobilenet") else theirs - 1)
