"""OpenCV, MNN, OpenVINO and ncnn on what digits do not show: colours, several outputs, odd sizes.

The networks are small and untrained, so int8 is judged by its signal-to-noise ratio.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.targets.base import Conversion, Precision, RunResult
from edgeark.zoo import model_entry
from support.target_base import installed_target
from torch import Tensor, nn

HEIGHT, WIDTH = 24, 40
SPEC = replace(
    model_entry("mnist").spec,
    input_size=(HEIGHT, WIDTH),
    color="rgb",
    mean=(123.7, 16.3, 203.5),
    std=(58.4, 27.1, 99.4),
)
FLOAT = [(name, "float32") for name in ("opencv", "opencv5", "mnn", "openvino", "ncnn")]
HALF = [(name, "float16") for name in ("mnn", "openvino", "ncnn")]
INT8 = [("mnn", "int8"), ("openvino", "int8")]
# Noise over signal, at least and at most: 16 dB in int8, where a wrong kernel is far below
NOISE = {"float16": (1e-9, 1e-5), "int8": (1e-6, 1 / 40)}


def block(channels: int, out: int, stride: int = 1, act: type[nn.Module] = nn.ReLU) -> nn.Module:
    convolution = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(out), act())


class TwoHeads(nn.Module):
    """The deep head first, and it reads the shallow one, which is an output all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 8, stride=2, act=nn.SiLU)
        self.middle = block(8, 16, stride=2)
        self.deep = nn.Conv2d(16, 7, 1)
        self.shallow = nn.Conv2d(8, 5, 1)
        self.bridge = nn.Conv2d(5, 7, 1, stride=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x)
        shallow = self.shallow(x)
        return self.deep(self.middle(x)) + self.bridge(shallow), shallow


class ManyHeads(nn.Module):
    """Twelve: ``output10`` comes before ``output2`` in the alphabet."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleList([nn.Conv2d(3, 13 - i, 3, stride=4) for i in range(12)])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(head(x) for head in self.heads)


class Pools(nn.Module):
    """YOLOv5's SPPF: the max pools see negative values, which SiLU has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = block(3, 8, stride=2, act=nn.SiLU)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.head = nn.Conv2d(32, 9, 1)

    def forward(self, x: Tensor) -> Tensor:
        steps = [self.stem(x)]
        for _ in range(3):
            steps.append(self.pool(steps[-1]))
        return self.head(torch.cat(steps, 1))


class Residual(nn.Module):
    """A sum of two quantised tensors, after a max pool straight behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2))
        self.body = nn.Sequential(block(16, 16), nn.Conv2d(16, 16, 3, padding=1))
        self.head = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(torch.relu(self.body(x) + x))


class UpDown(nn.Module):
    """UNet's shape, with each way of upsampling."""

    def __init__(self, upsample: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.third = block(3, 8), block(8, 16), block(24, 8)
        self.pool, self.upsample = nn.MaxPool2d(2), upsample
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        deep = self.upsample(self.second(self.pool(x)))
        return self.head(self.third(torch.cat([deep, x], 1)))


NETWORKS = {
    "two_heads": TwoHeads,
    "many_heads": ManyHeads,
    "pools": Pools,
    "residual": Residual,
    "nearest": lambda: UpDown(nn.Upsample(scale_factor=2)),
    "bilinear": lambda: UpDown(nn.Upsample(scale_factor=2, mode="bilinear")),
    "transposed": lambda: UpDown(nn.ConvTranspose2d(16, 16, 2, 2)),
    "linear": lambda: nn.Sequential(
        block(3, 8, stride=4), nn.Flatten(1), nn.Linear(8 * 6 * 10, 12), nn.ReLU(), nn.Linear(12, 5)
    ),
}


def make_images(count: int, seed: int) -> np.ndarray:
    """Patches of colour with a little noise: noise alone would drown in any network's mean."""
    rng = np.random.default_rng(seed)
    patches = rng.uniform(0, 255, (count, 3, HEIGHT // 8, WIDTH // 8))
    images = patches.repeat(8, axis=2).repeat(8, axis=3)
    return np.clip(images + rng.normal(0, 10, images.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=NETWORKS)
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    torch.manual_seed(1)
    network = NETWORKS[request.param]()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0  # one pass sets the statistics
    graph = Graph(network, SPEC, tmp_path_factory.mktemp(request.param))
    network.train()
    with torch.no_grad():
        raw = torch.from_numpy(make_images(64, seed=2)).float()
        mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (SPEC.mean, SPEC.std))
        network((raw - mean) / std)
    network.eval()
    return graph


def export(graph: Graph, name: str, precision: Precision, folder: Path) -> RunResult:
    """The answers to six images, with what every artifact must keep on the way."""
    target = installed_target(name)
    out, log = folder / "out", folder / "log.txt"
    out.mkdir()
    calibration = make_images(64, seed=1) if precision == "int8" else None
    artifact = target.convert(Conversion(graph, precision, out, log, calibration))
    assert sorted(path.name for path in out.iterdir()) == sorted(artifact.files)
    return target.run(artifact, make_images(6, seed=0), log)


@pytest.mark.parametrize(("name", "precision"), FLOAT + HALF + INT8)
def test_outputs_are_pytorchs_in_its_order(
    graph: Graph,
    name: str,
    precision: Precision,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    result = export(graph, name, precision, tmp_path)
    assert not list(here.iterdir()), "the toolchain left files in the working directory"
    wanted = graph.reference(make_images(6, seed=0))
    assert [a.shape for a in result.outputs] == [a.shape for a in wanted]
    for answer, reference in zip(result.outputs, wanted, strict=True):
        if precision == "float32":
            np.testing.assert_allclose(answer, reference, atol=1e-4)
        else:
            noise = np.square(answer - reference).mean()
            signal = np.square(reference - reference.mean(0)).mean()
            least, most = NOISE[precision]
            assert least * signal < noise < most * signal


def test_mnn_stores_the_nearest_half_weights(tmp_path: Path) -> None:
    """Its converter cuts off the lower digits; other engines round."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Flatten(1), nn.Linear(6688, 4))
    result = export(Graph(network, SPEC, tmp_path), "mnn", "float16", tmp_path)
    with torch.no_grad():
        for values in network.parameters():
            values.copy_(values.half())
    rounded = Graph(network, SPEC, tmp_path).reference(make_images(6, seed=0))
    np.testing.assert_allclose(result.outputs[0], rounded[0], atol=1e-5)
