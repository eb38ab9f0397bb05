"""The K210 compiler: what it fuses, what it refuses; and its target, with the zoo on it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import DataError
from edgeark.export.graph.files import Graph
from edgeark.export.graph.fold_normalization import fold_normalization
from edgeark.export.kpu import (
    KmodelError,
    KpuConv,
    Pool,
    Simulator,
    budget,
    read_kmodel,
    write_kmodel,
)
from edgeark.export.kpu.compiler.compile import Compiled, compile_kmodel
from edgeark.export.pipeline import export_one
from edgeark.export.prepare import prepare
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Artifact, Conversion, Evidence, Placement, Target
from edgeark.zoo import create_model
from edgeark.zoo.spec import ModelSpec, spec_of
from support.k210_cases import SPEC, conv
from support.target_base import TargetTester
from support.zoo_cases import create_small, ready
from torch import Tensor, nn


class TestK210(TargetTester):
    target = "k210"
    evidence = Evidence.MODELLED
    precisions = ("int8",)
    npu = True
    models = ("mnist_kpu", "mobilenet_v1_025")
    reopened = "mnist_kpu"

    def check_placement(self, placement: object) -> None:
        assert isinstance(placement, Placement)
        assert placement.npu_mac_fraction == 1.0
        assert placement.weights_bytes and placement.activation_bytes


def test_the_trained_unet_keeps_its_dice(tmp_path: Path) -> None:
    try:
        context = prepare("unet_8", tmp_path, limit=24)
    except DataError as error:
        pytest.skip(f"needs magnetic_tile: {error}")
    row = export_one(context, find_target("k210"), "int8", tmp_path)
    assert row.status == "ok" and row.placement is not None, row.message
    assert row.placement.npu_mac_fraction == 1.0
    assert row.metric is not None and row.metric.value > 0.5


def make_images(count: int, seed: int, spec: ModelSpec = SPEC) -> np.ndarray:
    """Patches of 4x4 pixels, brighter and darker: noise alone would drown in any pool."""
    rng = np.random.default_rng(seed)
    height, width = spec.input_size
    patches = rng.integers(0, 256, (count, spec.in_channels, height // 4, width // 4))
    patches = patches * np.linspace(0.2, 1, count)[:, None, None, None]
    return patches.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


def compiled(
    model: nn.Module, folder: Path, spec: ModelSpec = SPEC, **options: bool
) -> tuple[Compiled, float]:
    """The kmodel, written and read again, and how far it is from PyTorch: dB.

    Calibrated on the images that it then sees: values out of range are another matter.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                module.bias.mul_(0.1)  # what all images have in common would take the bytes
    graph, images = Graph(model, spec, folder), make_images(8, 2, spec)
    proto = fold_normalization(onnx.load(graph.onnx(11)), spec.mean, spec.std)
    result = compile_kmodel(proto, images, **options)
    kmodel = read_kmodel(write_kmodel(result.kmodel))
    outputs = Simulator(kmodel).run(images)
    shaped = [o.reshape(8, *s) for o, s in zip(outputs, result.output_shapes, strict=True)]
    return result, compare(graph.reference(images), shaped).sqnr_db


def kinds(result: Compiled) -> list[str]:
    return [type(layer).__name__ for layer in result.kmodel.layers]


def pools(result: Compiled) -> list[Pool]:
    return [layer.pool for layer in result.kmodel.layers if isinstance(layer, KpuConv)]


class Two(nn.Module):
    """A stem, and what ``join`` makes of it and a second convolution."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor], channels: int = 8) -> None:
        super().__init__()
        self.stem, self.body, self.last = conv(3, 8), conv(8, 8), conv(channels, 4)
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.last(self.join(x, self.body(x)))


def skip(a: Tensor, b: Tensor) -> Tensor:
    small = nn.functional.max_pool2d(a, 2)
    return torch.cat((nn.functional.interpolate(small, scale_factor=2.0), b), 1)


def seed(model: nn.Module) -> None:
    """Draw the weights anew, the same ones every time: these networks are made at import."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.reset_parameters()


P = Pool
FUSIONS = {
    "stride": (nn.Sequential(conv(3, 8, 3, 2), conv(8, 4)), [P.LEFT_TOP_2, P.NONE]),
    "stride of 1x1": (nn.Sequential(conv(3, 8), conv(8, 4, 1, 2)), [P.NONE, P.LEFT_TOP_2]),
    "relu, max pool": (nn.Sequential(conv(3, 8), nn.ReLU(), nn.MaxPool2d(2)), [P.MAX_2]),
    "max pool, relu": (nn.Sequential(conv(3, 8), nn.MaxPool2d(2), nn.ReLU(), conv(8, 4)), None),
    "max pool of 4": (nn.Sequential(conv(3, 8), nn.MaxPool2d(4)), [P.MAX_4]),
    "mean": (nn.Sequential(conv(3, 8), nn.ReLU(), nn.AvgPool2d(2)), [P.MEAN_2]),
    "mean of 4": (nn.Sequential(conv(3, 8), nn.ReLU(), nn.AvgPool2d(4)), [P.MEAN_4]),
    "depthwise": (nn.Sequential(conv(3, 8), conv(8, 8, groups=8)), [P.NONE, P.NONE]),
    "depthwise, stride, 1x1": (
        nn.Sequential(conv(3, 8), conv(8, 8, 3, 2, 8), nn.ReLU6(), conv(8, 4, 1)),
        [P.NONE, P.NONE, P.LEFT_TOP_2],
    ),
    "depthwise, stride, 3x3": (
        nn.Sequential(conv(3, 8), conv(8, 8, 3, 2, 8), conv(8, 4)),
        [P.NONE, P.NONE, P.LEFT_TOP_2, P.NONE],
    ),
    "depthwise, pool": (
        nn.Sequential(conv(3, 8), conv(8, 8, groups=8), nn.MaxPool2d(2)),
        [P.NONE, P.NONE, P.MAX_2],
    ),
    "stride, pool": (
        nn.Sequential(conv(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(2)),
        [P.LEFT_TOP_2, P.MAX_2],
    ),
}


@pytest.mark.parametrize(("model", "wanted"), FUSIONS.values(), ids=FUSIONS)
def test_fuses(model: nn.Module, wanted: list[Pool] | None, tmp_path: Path) -> None:
    """All of it on the KPU, and as near to PyTorch as 8 bits go."""
    seed(model)
    result, sqnr_db = compiled(model, tmp_path)
    if wanted is not None:
        assert set(kinds(result)[:-1]) == {"KpuConv"} and kinds(result)[-1] == "Dequantize"
        assert pools(result) == wanted
    # The mean of 16 bytes is a byte of the same scale, and varies far less than they do.
    assert sqnr_db > (25 if wanted == [P.MEAN_4] else 29)


@pytest.mark.parametrize(
    "act",
    [
        *(nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.1), nn.Hardswish(), nn.SiLU()),
        *(nn.Sigmoid(), nn.Tanh(), nn.ELU(), nn.Mish(), nn.Hardsigmoid()),
    ],
    ids=lambda act: type(act).__name__,
)
def test_any_activation_becomes_a_table(act: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(conv(3, 8), act, conv(8, 4))
    with torch.no_grad():
        model[0].weight.mul_(6)  # type: ignore[union-attr] # into the curve's bends
    result, sqnr_db = compiled(model, tmp_path)
    assert kinds(result) == ["KpuConv", "KpuConv", "Dequantize"]
    assert sqnr_db > 29


OPERATORS = {
    "sum": (Two(torch.add), {"Add": 1, "Upload": 1, "Quantize": 1}),
    "sum, relu": (Two(lambda a, b: (a + b).relu()), {"Add": 1, "Requantize": 0}),
    "sum, silu": (Two(lambda a, b: nn.functional.silu(a + b)), {"Add": 1, "Requantize": 1}),
    "resize, concat, pooled skip": (
        Two(skip, 16),
        {"QuantizedResizeNearest": 1, "QuantizedConcat": 1, "KpuConv": 4},
    ),
    "max pool of 5": (
        nn.Sequential(conv(3, 8), nn.MaxPool2d(5, 1, 2), conv(8, 4)),
        {"QuantizedMaxPool": 1, "Upload": 1},
    ),
    "head on one pixel": (
        nn.Sequential(conv(3, 8), nn.ReLU(), nn.AvgPool2d((16, 24)), conv(8, 6, 1)),
        {"GlobalAveragePool": 1, "AddPadding": 1, "RemovePadding": 1, "KpuConv": 2},
    ),
    "linear": (
        nn.Sequential(
            *(conv(3, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)),
            *(nn.ReLU(), nn.Linear(6, 5)),
        ),
        {"AddPadding": 2, "KpuConv": 3},
    ),
    "linear on a map": (
        nn.Sequential(conv(3, 8, 3, 2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(192, 5)),
        {"AddPadding": 1, "KpuConv": 3},
    ),
    "large linear": (
        nn.Sequential(conv(3, 8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 16 * 24, 5)),
        {"FullyConnected": 1},
    ),
    "softmax": (
        nn.Sequential(
            conv(3, 8), nn.AvgPool2d((16, 24)), conv(8, 6, 1), nn.Flatten(), nn.Softmax(1)
        ),
        {"Softmax": 1},
    ),
}


@pytest.mark.parametrize(("model", "wanted"), OPERATORS.values(), ids=OPERATORS)
def test_what_the_cpu_does(model: nn.Module, wanted: dict[str, int], tmp_path: Path) -> None:
    torch.manual_seed(0)
    result, sqnr_db = compiled(model, tmp_path)
    found = Counter(kinds(result))
    assert {kind: found[kind] for kind in wanted} == wanted
    assert sqnr_db > 25


def test_a_mean_goes_into_the_first_convolution(tmp_path: Path) -> None:
    """Grey images, padded with the mean; three means that differ need a convolution of theirs."""
    gray = replace(SPEC, color="gray", mean=(33.3,), std=(78.6,))
    result, sqnr_db = compiled(conv(1, 8), tmp_path, gray)
    (layer,) = (one for one in result.kmodel.layers if isinstance(one, KpuConv))
    assert layer.pad_value == 33 and sqnr_db > 34
    (tmp_path / "rgb").mkdir()
    colors = replace(SPEC, mean=(123.7, 16.3, 203.5), std=(58.4, 27.1, 99.4))
    result, sqnr_db = compiled(conv(3, 8), tmp_path / "rgb", colors)
    assert kinds(result) == ["KpuConv", "KpuConv", "Dequantize"] and sqnr_db > 33


class Product(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True)


REFUSALS = {
    "kernel": (nn.Conv2d(8, 8, 5, padding=2), r"/1/Conv: a kernel of 5x5.*use 3x3"),
    "groups": (nn.Conv2d(8, 8, 3, padding=1, groups=2), "2 groups; use groups=1"),
    "dilation": (nn.Conv2d(8, 8, 3, padding=2, dilation=2), "dilation 2; use dilation=1"),
    "stride": (nn.Conv2d(8, 8, 3, 3, 1), "stride 3x3.*use stride 2"),
    "no padding": (nn.Conv2d(8, 8, 3), r"padding \[0, 0, 0, 0\].*use padding=1"),
    "channels": (nn.Conv2d(8, 1030, 1), "1030 channels, the KPU ends at 1024"),
    "small map": (nn.Sequential(nn.AvgPool2d(4), nn.MaxPool2d(2), conv(8, 8)), "a map of 2x3"),
    "odd map": (nn.Sequential(nn.MaxPool2d((16, 8), (1, 1)), conv(8, 8, 3, 2)), "odd map of 1x17"),
    "transposed": (nn.ConvTranspose2d(8, 8, 2, 2), "ConvTranspose; upsample by nearest"),
    "prelu": (nn.PReLU(8), "PRelu; use ReLU"),
    "bilinear": (nn.Upsample(scale_factor=2.0, mode="bilinear"), "Resize; upsample by nearest"),
    "mean of 3": (nn.AvgPool2d(3, 2, 1), "AveragePool; use 2x2"),
    "product": (Product(), "Mul of two different tensors"),
    "norm": (nn.InstanceNorm2d(8), "InstanceNormalization; use batch"),
}


@pytest.mark.parametrize(("layer", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refuses_in_one_line(layer: nn.Module, message: str, tmp_path: Path) -> None:
    model = nn.Sequential(conv(3, 8), layer)
    with pytest.raises(KmodelError, match=message) as caught:
        compiled(model, tmp_path)
    assert "\n" not in str(caught.value)


def test_maps_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    large = replace(SPEC, input_size=(200, 200))
    with pytest.raises(KmodelError, match=r"/1/Conv.*MiB of the KPU's 2; use a smaller input"):
        compiled(nn.Sequential(conv(3, 24), conv(24, 24)), tmp_path, large)
    (tmp_path / "tall").mkdir()
    tall = replace(SPEC, input_size=(260, 8))
    with pytest.raises(KmodelError, match="a map of 260x8, the KPU's largest is 256x512"):
        compiled(conv(3, 4), tmp_path / "tall", tall)


class Wide(nn.Module):
    """Both processors read the large convolution's result."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body, self.head = conv(3, 512, 1, 2), conv(512, 400), conv(400, 4, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.body(self.stem(x))
        return x, self.head(x)


def test_a_convolution_of_too_many_weight_loads_is_split(tmp_path: Path) -> None:
    """3x3 with 512 channels in: six filters a load, 64 loads a layer, so 384 channels."""
    model = Wide()
    seed(model)
    result, sqnr_db = compiled(model, tmp_path, replace(SPEC, input_size=(8, 8)))
    parts = [one for one in result.kmodel.layers if isinstance(one, KpuConv)][1:3]
    assert [part.out_channels for part in parts] == [384, 16]
    assert result.names[1:3] == ("/body/Conv", "/body/Conv") and sqnr_db > 29


@pytest.mark.parametrize("name", ["mobilenet_v1_025", "vgg_kpu", "unet_8", "yolov5n"])
def test_the_zoo_on_one_chip(name: str, tmp_path: Path) -> None:
    """Every MAC on the KPU, the classifiers in one run of it, and not far below other int8.

    The weights are random, and int8 hurts deep random networks much: ONNX Runtime is the measure.
    Of other random weights either is better, by 3 dB at most.
    """
    arguments = {"stem": "3x3", "input_size": (128, 128)} if name == "yolov5n" else {}
    model = create_small(name, **arguments)
    spec = spec_of(model)
    (tmp_path / "graph").mkdir()
    graph = Graph(ready(model, *spec.input_shape[1:]), spec, tmp_path / "graph")
    images, log = make_images(4, 2, spec), tmp_path / "log"

    def convert(target: Target) -> tuple[Artifact, float]:
        (tmp_path / target.name).mkdir()
        calibration = make_images(8, 1, spec)
        artifact = target.convert(
            Conversion(graph, "int8", tmp_path / target.name, log, calibration)
        )
        outputs = target.run(artifact, images, log).outputs
        return artifact, compare(graph.reference(images), outputs).sqnr_db

    artifact, sqnr_db = convert(find_target("k210"))
    assert sqnr_db > convert(find_target("onnxruntime"))[1] - 4
    placement = find_target("k210").placement(artifact)
    assert placement is not None and placement.npu_mac_fraction == 1.0
    if spec.task == "classification":
        assert [op.split()[0] for op in placement.cpu_ops] == ["Dequantize", "GlobalAveragePool"]
    assert 0 < artifact.settings["kpu_memory_bytes"] < 2 * 2**20


def test_warns_of_main_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "MAIN_BYTES", 1000)
    graph = Graph(conv(3, 8), SPEC, tmp_path)
    job = Conversion(graph, "int8", tmp_path, tmp_path / "log", make_images(2, 1))
    with caplog.at_level(logging.WARNING):
        artifact = find_target("k210").convert(job)
    assert "k210: main memory: 0.02 MiB of 0.00" in caplog.text
    working = 8 * 16 * 24 * (1 + 4)  # bytes and floats
    size = artifact.path.stat().st_size
    assert artifact.settings["main_memory_bytes"] == size + working + 3 * 16 * 24
    assert find_target("k210").max_images(artifact) == round(1000e9 / (3 * 8 * 9 * 16 * 24))


def test_equalisation_and_its_absence_agree_with_pytorch(tmp_path: Path) -> None:
    """Channels of very different size, which share a scale unless they are made alike."""
    torch.manual_seed(0)
    model = create_model("mobilenet_v1_025", input_size=(128, 128)).features[:3]
    spec = replace(SPEC, input_size=(32, 32))
    ready(model, 3, 32, 32)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                factors = torch.logspace(-1.2, 0, len(module.weight))
                module.weight.mul_(factors)
                module.bias.mul_(factors)
    _, plain = compiled(model, tmp_path, spec, equalized=False)
    _, better = compiled(model, tmp_path, spec)
    assert better > plain + 1


def test_weights_that_two_layers_share(tmp_path: Path) -> None:
    """The exporter writes equal constants once, and an Identity for the second layer."""
    model = nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 8))
    with torch.no_grad():
        for layer in model:
            layer.bias.zero_()  # type: ignore[union-attr]
    proto = onnx.load(Graph(model, SPEC, tmp_path).onnx(11))
    assert any(node.op_type == "Identity" for node in proto.graph.node)
    assert kinds(compiled(model, tmp_path)[0]) == ["KpuConv"] * 3 + ["Dequantize"]


class Scaled(nn.Module):
    """By numbers that are computed of its parameters, at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = conv(3, 8), nn.Parameter(torch.tensor([[-0.7]]))

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) / (self.scale.abs() + 0.5) * self.scale.sigmoid()


def test_numbers_that_are_computed_of_parameters(tmp_path: Path) -> None:
    result, sqnr_db = compiled(Scaled(), tmp_path)
    assert kinds(result) == ["KpuConv", "Dequantize"] and sqnr_db > 30
