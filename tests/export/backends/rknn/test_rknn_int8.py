"""RKNN's int8: what each layer loses, which calibration, layers that stay in 16 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.calibration import require_known
from edgeark.export.graph.files import Graph
from edgeark.export.layers import plot_layers
from edgeark.export.results.compare import compare
from edgeark.export.results.layers_file import LayerReport
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, LayerError, Quantization, Target
from PIL import Image
from support.rknn_cases import SPEC, make_graph
from support.target_base import installed_target
from torch import Tensor, nn
from torch.nn.functional import relu6


class Ruined(nn.Module):
    """One channel in the middle is 500 times as large as the others: its range is everyone's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.loud = nn.Conv2d(8, 8, 3, padding=1)
        self.equal = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Conv2d(8, 4, 1)
        with torch.no_grad():
            self.loud.weight[0] *= 500
            self.loud.bias[0] *= 500  # type: ignore[index]
            self.equal.weight[:, 0] /= 500

    def forward(self, x: Tensor) -> Tensor:
        x = relu6(self.stem(x))  # of a frozen trace the toolkit cannot read its bounds
        x = self.equal(self.loud(x).relu()).relu()
        return self.head(x)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 3, 16, 24), dtype=np.uint8)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    installed_target("rknn:rk3588")
    torch.manual_seed(0)
    return make_graph(Ruined(), tmp_path_factory.mktemp("ruined"), replace(SPEC, std=(255.0,) * 3))


def converted(
    graph: Graph, target: Target, folder: Path, images: np.ndarray, **options: object
) -> Artifact:
    quantization = Quantization(**options)  # type: ignore[arg-type]
    return target.convert(
        Conversion(graph, "int8", folder, folder / "log.txt", images, quantization)
    )


def sqnr_db(graph: Graph, target: Target, artifact: Artifact, images: np.ndarray) -> float:
    result = target.run(artifact, images, artifact.folder / "log.txt")
    return compare(graph.reference(images), result.outputs).sqnr_db


def test_each_layer_tells_its_own_loss_and_all_before(
    graph: Graph, images: np.ndarray, tmp_path: Path
) -> None:
    target = find_target("rknn:rk3588")
    artifact = converted(graph, target, tmp_path, images)
    layers = target.layer_errors(artifact, images[:4], tmp_path / "log.txt")
    assert layers is not None
    assert [layer.module for layer in layers] == ["stem", "loud", "equal", "head"]
    own = [layer.own_sqnr_db for layer in layers]
    assert own.index(min(own)) == 2 and own[2] < 15 < min(own[0], own[1], own[3])
    assert layers[3].sqnr_db < layers[3].own_sqnr_db - 10  # the head inherits it
    assert layers[2].own_cosine < 0.99 < layers[0].own_cosine
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.txt", "model.rknn", "source"]


@pytest.mark.parametrize(("chip", "wide"), [("rk3588", "float16"), ("rv1106", "int16")])
def test_layers_that_int8_ruins_stay_in_16_bits(
    graph: Graph, images: np.ndarray, tmp_path: Path, chip: str, wide: str
) -> None:
    target = find_target(f"rknn:{chip}")
    artifact = converted(graph, target, tmp_path, images, mixed=True)
    assert artifact.settings["wide_type"] == wide
    assert artifact.settings["wide_modules"] == ["equal", "loud"]
    assert sqnr_db(graph, target, artifact, images) > 15
    placement = target.placement(artifact)
    assert placement is not None and placement.cpu_ops == ()
    kinds = {layer["module"]: layer["dtype"] for layer in placement.layers if layer["macs"]}
    assert kinds == {"stem": "INT8", "loud": wide.upper(), "equal": wide.upper(), "head": "INT8"}


@pytest.mark.parametrize("algorithm", ["normal", "kl_divergence"])
def test_the_algorithm_is_the_users_choice(
    graph: Graph, images: np.ndarray, tmp_path: Path, algorithm: str
) -> None:
    """Without wide layers, and so ruined."""
    target = find_target("rknn:rk3588")
    artifact = converted(graph, target, tmp_path, images, algorithm=algorithm)
    assert artifact.settings["algorithm"] == algorithm
    assert sqnr_db(graph, target, artifact, images) < 5


def test_a_choice_that_a_target_does_not_have_is_refused() -> None:
    rknn, mnn = find_target("rknn:rk3588"), find_target("mnn")
    require_known(Quantization(algorithm="mmse", mixed=True), [rknn])
    with pytest.raises(EdgearkError, match=r"no calibration 'gdq'; it knows normal, mmse"):
        require_known(Quantization(algorithm="gdq"), [rknn])
    with pytest.raises(EdgearkError, match="mnn has no calibration 'mmse'; it has no choice"):
        require_known(Quantization(algorithm="mmse"), [rknn, mnn])
    for name in ("mnn", "rknn:rv1106b"):
        with pytest.raises(EdgearkError, match=f"{name} cannot mix"):
            require_known(Quantization(mixed=True), [find_target(name)])


def test_the_plot_has_a_panel_a_report(tmp_path: Path) -> None:
    layers = [
        LayerError(f"t{i}", f"features.{i}", "Conv", 1.0, 200.0 - i, 1.0, 30.0) for i in (1, 2)
    ]
    reports = [LayerReport("net", f"rknn:{chip}", "int8", layers) for chip in ("rk3588", "rv1106")]
    plot_layers(reports[:1], tmp_path / "one.png")
    plot_layers(reports, tmp_path / "two.png")
    one, two = (Image.open(tmp_path / name) for name in ("one.png", "two.png"))
    assert two.height > 1.8 * one.height and two.width == one.width


def test_torchscript_gives_the_same_answers(
    graph: Graph, images: np.ndarray, tmp_path: Path
) -> None:
    """With edgeark's own PyTorch, whose version the toolkit does not ask for."""
    answers = []
    for name in ("rknn:rk3588", "rknn-torchscript:rk3588"):
        target, folder = find_target(name), tmp_path / name.partition(":")[0]
        folder.mkdir()
        artifact = converted(graph, target, folder, images, mixed=True)
        assert artifact.settings["wide"]
        answers.append(target.run(artifact, images[:4], folder / "log.txt").outputs[0])
        assert "packages" not in artifact.settings
    np.testing.assert_array_equal(*answers)
