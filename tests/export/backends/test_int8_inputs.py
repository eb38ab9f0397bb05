"""What int8 engines make of the image itself, and of ranges that suit most values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.graph.onnx_passes import pool_means
from edgeark.export.results.compare import compare
from edgeark.export.targets.base import Conversion
from edgeark.zoo import model_entry
from support.target_base import installed_target
from support.tries import Function
from torch import Tensor, nn
from torch.nn import functional as f

SPEC = replace(model_entry("unet_8").spec, input_size=(32, 32))
ENGINES = ("onnxruntime", "mnn", "openvino", "litert", "executorch")


def shaded_images() -> np.ndarray:
    """Slopes from black to white with faint noise, a few grey levels high."""
    rng = np.random.default_rng(5)
    slopes = np.linspace(0, 1, 32)[:, None] * rng.uniform(-90, 90, (8, 1, 1, 1))
    images = np.clip(128 + slopes + rng.normal(0, 3, (8, 1, 32, 32)), 0, 255).astype(np.uint8)
    images[:, :, 0, :2] = 0, 255  # the whole range, as photographs have it
    return images


def sqnr_db(engine: str, model: nn.Module, folder: Path) -> float:
    target, images = installed_target(engine), shaded_images()
    graph, log = Graph(model, SPEC, folder), folder / "log.txt"
    artifact = target.convert(Conversion(graph, "int8", folder, log, images))
    result = target.run(artifact, images, log)
    assert result is not None
    return compare(graph.reference(images), result.outputs).sqnr_db


@pytest.mark.parametrize("engine", ENGINES)
def test_a_filter_of_small_differences_survives(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its weights add up to nothing, on the grid of 8 bits alone.

    An image of 127 levels leaves 15 dB, weights of 7 bits 5. OpenVINO runs as on a CPU without
    AVX-512, since its sums overflow where there is that but no VNNI.
    """
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    conv = nn.Conv2d(1, 1, 3, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1] = torch.tensor([-127.0, 65.0, 62.0]) / 127
    assert sqnr_db(engine, conv, tmp_path) > 35


class Around(nn.Module):
    """A function between two modules."""

    def __init__(self, before: nn.Module, function: Function, behind: nn.Module) -> None:
        super().__init__()
        self.before, self.function, self.behind = before, function, behind

    def forward(self, x: Tensor) -> Tensor:
        return self.behind(self.function(self.before(x)))


class Meeting(nn.Module):
    """The image goes where maps go: through a pool, or beside a convolution of its own."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.first = nn.Conv2d(1, 1, 3, padding=1)
        self.last = nn.Conv2d(2 if how == "cat" else 1, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "pool":
            return self.last(f.max_pool2d(x, 2))
        y = torch.relu(self.first(x))
        return self.last(torch.cat([x, y], dim=1) if self.how == "cat" else x + y)


@pytest.mark.parametrize("how", ["cat", "sum", "pool"])
@pytest.mark.parametrize("engine", ["mnn", "openvino"])
def test_a_image_meets_a_map(engine: str, how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert sqnr_db(engine, Meeting(how).eval(), tmp_path) > 24


@pytest.mark.parametrize("side", [2, 5])
@pytest.mark.parametrize("engine", ["mnn", "openvino"])
def test_a_max_pool_of_signed_maps(engine: str, side: int, tmp_path: Path) -> None:
    """A range that cuts off the least values lets MNN's pool take them for the largest."""
    torch.manual_seed(0)
    before, pool = nn.Conv2d(1, 8, 3, padding=1), nn.MaxPool2d(side, 1, side // 2)
    model = nn.Sequential(before, pool, nn.Conv2d(8, 4, 1)).eval()
    assert sqnr_db(engine, model, tmp_path) > 22


def pooled_and_doubled(x: Tensor) -> Tensor:
    """One scale for the map, its pool and the doubled pool, and one for both parts together."""
    return torch.cat([f.interpolate(f.max_pool2d(x, 2), scale_factor=2), x], 1)


SIGNED = {
    "doubled": pooled_and_doubled,
    "doubled twice": lambda x: pooled_and_doubled(pooled_and_doubled(x)),
    "larger": lambda x: torch.maximum(x, x * 0.5),
    "smaller": lambda x: torch.minimum(x, x.tanh()),
    "where": lambda x: torch.where(x > 0.2, x, -x),
    "difference": lambda x: x - x.relu(),
}


@pytest.mark.parametrize("how", SIGNED)
def test_mnn_keeps_signed_maps(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first, function = nn.Conv2d(1, 8, 3, padding=1), SIGNED[how]
    model = Around(first, function, nn.LazyConv2d(4, 1))
    model(torch.zeros(1, 1, 32, 32))
    assert sqnr_db("mnn", model.eval(), tmp_path) > 20


class Mean(nn.Module):
    """A head over the mean of a map, as most classifiers have it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.before, self.head = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.before(x))
        if self.how == "dims":
            return self.linear(y.mean((2, 3)))
        pooled = f.adaptive_avg_pool2d(y, 1)
        return self.head(pooled) if self.how == "head" else pooled


@pytest.mark.parametrize("how", ["last", "head", "dims"])
def test_mnn_quantises_means(how: str, tmp_path: Path) -> None:
    """Its quantiser dies of ReduceMean: they are written as pools."""
    torch.manual_seed(0)
    assert sqnr_db("mnn", Mean(how).eval(), tmp_path) > 12  # the images' means differ little


@pytest.mark.parametrize("how", ["last", "head", "dims"])
def test_a_mean_as_a_pool_is_the_same(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Mean(how).eval()
    source = onnx.load(Graph(model, SPEC, tmp_path).onnx(18))
    pooled = pool_means(source)
    kinds = [node.op_type for node in pooled.graph.node]
    assert "ReduceMean" not in kinds and "GlobalAveragePool" in kinds
    x = torch.rand(1, 1, 32, 32)
    session = ort.InferenceSession(pooled.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"input": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(answer), model(x), rtol=1e-5, atol=1e-5)
