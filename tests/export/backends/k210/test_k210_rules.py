"""The K210's rules against its compiler: what they call an error is what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.backends.k210.rules import RULES
from edgeark.export.graph.files import Graph
from edgeark.export.graph.fold_normalization import fold_normalization
from edgeark.export.kpu.compiler.compile import compile_kmodel
from edgeark.export.kpu.compiler.lower import lower
from edgeark.export.lint import Finding, capture_network, check
from edgeark.zoo import create_model
from edgeark.zoo.spec import ModelSpec
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.k210_cases import SPEC, conv
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = SPEC.input_size  # 16x24


def found_in(model: nn.Module, spec: ModelSpec = SPEC) -> list[Finding]:
    return check(capture_network(model, spec.input_shape), RULES, "k210")


def errors_of(model: nn.Module) -> list[str]:
    return [finding.describe() for finding in found_in(model) if finding.severity == "error"]


def refusal(model: nn.Module) -> str:
    """What the exporter or the compiler says against it; '' where it is taken."""
    with TemporaryDirectory() as folder:
        try:
            proto = onnx.load(Graph(model, SPEC, Path(folder)).onnx(11))
            lower(fold_normalization(proto, SPEC.mean, SPEC.std))
        except EdgearkError as error:
            return str(error)
    return ""


class Then(nn.Module):
    """A convolution, and a function of its result."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.function = conv(3, 8), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.stem(x))


def behind(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(conv(3, 8), *layers)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.arange(1.0, 9)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


# Errors: a rule, a minimal network that breaks it, its fixed neighbour.
ERRORS = {
    "kernel": (behind(nn.Conv2d(8, 8, 5, padding=2)), behind(conv(8, 8), conv(8, 8))),
    "groups": (behind(conv(8, 8, groups=2)), behind(conv(8, 8, groups=8))),
    "dilation": (behind(nn.Conv2d(8, 8, 3, padding=2, dilation=2)), behind(conv(8, 8))),
    "stride": (behind(nn.Conv2d(8, 8, 3, 3, 1)), behind(conv(8, 8, 3, 2))),
    "odd-map": (
        behind(nn.MaxPool2d(3, 1), nn.MaxPool2d(2, 1), conv(8, 8, 3, 2)),
        behind(nn.MaxPool2d(3, 1), conv(8, 8, 3, 2)),
    ),
    "padding": (behind(nn.Conv2d(8, 8, 3)), behind(nn.Conv2d(8, 8, 3, padding="same"))),
    "padding-layer": (
        behind(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(8, 8, 3, 2)),
        behind(conv(8, 8, 3, 2)),
    ),
    "channels": (behind(conv(8, 1030, 1)), behind(conv(8, 1024, 1))),
    "small-map": (
        behind(nn.MaxPool2d(4), nn.MaxPool2d(2), conv(8, 8)),
        behind(nn.MaxPool2d(4), conv(8, 8)),
    ),
    "pool": (behind(nn.AvgPool2d(3, 2, 1)), behind(nn.AvgPool2d(2))),
    "mean": (Then(lambda x: x.mean(3)), Then(lambda x: x.mean((2, 3)))),
    "mean, adaptive": (
        behind(nn.AdaptiveAvgPool2d((5, 6))),
        behind(nn.AdaptiveAvgPool2d((8, 12))),
    ),
    "gelu": (behind(nn.GELU()), behind(nn.GELU("tanh"))),
    "prelu": (behind(nn.PReLU(8)), behind(nn.LeakyReLU(0.1))),
    "activation": (behind(nn.SELU()), behind(nn.ELU())),
    "normalization": (behind(nn.InstanceNorm2d(8)), behind(nn.BatchNorm2d(8))),
    "normalization-inside": (behind(Scaled()), Then(lambda x: (x - 0.5) / 0.2)),
    "two-tensors": (
        Then(lambda x: x * x.mean((2, 3), keepdim=True)),
        Then(lambda x: x + F.max_pool2d(x, 3, 1, 1)),
    ),
    "concat": (Then(lambda x: torch.cat((x, x), 2)), Then(lambda x: torch.cat((x, x), 1))),
    "upsample-factor": (
        behind(nn.Upsample(size=(20, 30))),
        behind(nn.Upsample(scale_factor=2.0)),
    ),
    "resize": (
        behind(nn.Upsample(scale_factor=2.0, mode="bilinear")),
        behind(nn.Upsample(scale_factor=2.0)),
    ),
    "softmax": (
        behind(nn.Softmax(1)),
        behind(nn.AvgPool2d(SIZE), nn.Flatten(), nn.Softmax(1)),
    ),
    "linear-of-a-map": (behind(nn.Linear(24, 5)), behind(nn.Flatten(), nn.Linear(3072, 5))),
    "transposed-convolution": (
        behind(nn.ConvTranspose2d(8, 8, 2, 2)),
        behind(nn.Upsample(scale_factor=2.0), conv(8, 8)),
    ),
    "slice": (Then(lambda x: x[:, :4]), behind(conv(8, 4, 1))),
    "transpose": (behind(nn.PixelShuffle(2)), behind(nn.Upsample(scale_factor=2.0))),
    "max-of-maps": (Then(lambda x: x.amax((2, 3))), behind(nn.AdaptiveMaxPool2d(1))),
}


@pytest.mark.parametrize("rule", ERRORS)
def test_an_error_is_what_the_compiler_refuses(rule: str) -> None:
    broken, fixed = (model.eval() for model in ERRORS[rule])
    (finding, *_) = [f for f in found_in(broken) if f.rule == rule.split(",", maxsplit=1)[0]]
    assert finding.severity == "error" and finding.fix
    assert finding.source or finding.module
    assert refusal(broken)
    assert errors_of(fixed) == [] and refusal(fixed) == ""


# Warnings: the same, and the layers that the compiler needs for the first and not for the second.
WARNINGS = {
    "pool-of-a-skip": (
        Then(lambda x: torch.cat((F.interpolate(F.max_pool2d(x, 2), scale_factor=2.0), x), 1)),
        behind(nn.MaxPool2d(2)),
        "(max_2)",
    ),
    "depthwise-stride": (
        behind(conv(8, 8, 3, 2, 8), conv(8, 8)),
        behind(conv(8, 8, 3, 2, 8), nn.ReLU6(), conv(8, 8, 1)),
        "(left_top_2)",
    ),
    "large-linear": (
        behind(nn.Flatten(), nn.Linear(3072, 5)),
        behind(nn.AvgPool2d(SIZE), nn.Flatten(), nn.Linear(8, 5)),
        "linear",
    ),
    "head-on-a-pixel": (
        behind(nn.AvgPool2d(SIZE), conv(8, 5, 1)),
        behind(conv(8, 5, 1), nn.AvgPool2d(SIZE)),
        "@features",
    ),
    "cpu-pool": (behind(nn.MaxPool2d(3, 2, 1)), behind(nn.MaxPool2d(2)), "max_pool"),
}


def steps_of(model: nn.Module) -> str:
    with TemporaryDirectory() as folder:
        proto = onnx.load(Graph(model, SPEC, Path(folder)).onnx(11))
        network = lower(fold_normalization(proto, SPEC.mean, SPEC.std))
    shapes = network.shapes
    words = [f"{step.name} {getattr(step, 'kind', '')}" for step in network.steps]
    pixels = [s.output for s in network.steps if shapes[s.output][1:] == (1, 1)]
    features = ["@features" for step in network.steps if set(step.inputs) & set(pixels)]
    return " ".join(words + features)


@pytest.mark.parametrize("rule", WARNINGS)
def test_a_warning_is_what_costs_layers(rule: str) -> None:
    dear, cheap, sign = WARNINGS[rule]
    (finding,) = [f for f in found_in(dear) if f.rule == rule]
    assert finding.severity == "warning" and errors_of(dear) == []
    assert rule not in {f.rule for f in found_in(cheap)}
    assert sign in steps_of(dear) and sign not in steps_of(cheap)


def test_maps_that_fill_the_kpus_memory(tmp_path: Path) -> None:
    large = ModelSpec(**{**vars(SPEC), "input_size": (200, 200)})
    broken, fixed = (behind(conv(8, 32), conv(32, channels)) for channels in (32, 4))
    images = np.zeros((1, 3, 200, 200), np.uint8)

    def rules(model: nn.Module) -> set[str]:
        return {f.rule for f in found_in(model, large) if f.severity == "error"}

    def compile_it(model: nn.Module, name: str) -> None:
        (tmp_path / name).mkdir()
        proto = onnx.load(Graph(model, large, tmp_path / name).onnx(11))
        compile_kmodel(fold_normalization(proto, large.mean, large.std), images)

    assert rules(broken) == {"kpu-memory"} and rules(fixed) == set()
    with pytest.raises(EdgearkError, match="of the KPU's 2"):
        compile_it(broken, "broken")
    compile_it(fixed, "fixed")


def test_sizes_of_the_whole_network() -> None:
    """Weights against main memory, and the input against the camera."""
    with torch.device("meta"):
        model = create_model("vgg16_bn", input_size=(288, 96))
        network = capture_network(model, (1, 3, 288, 96))
    found = {(f.rule, f.severity) for f in check(network, RULES, "k210")}
    assert {("main-memory", "error"), ("camera", "warning"), ("large-map", "error")} <= found
    assert {f.rule for f in found_in(behind())} == set()


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.body(x)).relu()


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """A stem and a few layers, good ones and bad ones."""
    torch.manual_seed(0)
    layers: list[nn.Module] = [conv(3, 8)]
    channels = 8
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "act", "pool", "other"]))
        if kind == "conv":
            side = draw(st.sampled_from([1, 3, 3, 5]))
            out_channels, groups = draw(st.sampled_from([(8, 1), (16, 1), (channels, channels)]))
            pad = draw(st.sampled_from([side // 2, side // 2, 0]))
            stride = draw(st.sampled_from([1, 1, 2, 3]))
            layers.append(nn.Conv2d(channels, out_channels, side, stride, pad, 1, groups))
            channels = out_channels
        elif kind == "act":
            acts = (nn.ReLU(), nn.SiLU(), nn.ReLU6(), nn.GELU(), nn.PReLU(), nn.BatchNorm2d)
            act = draw(st.sampled_from(acts))
            layers.append(act(channels) if isinstance(act, type) else act)
        elif kind == "pool":
            pool = draw(st.sampled_from([nn.MaxPool2d, nn.AvgPool2d]))
            side, stride = draw(st.integers(2, 4)), draw(st.sampled_from([1, 2, 2, 4]))
            layers.append(pool(side, stride, ceil_mode=draw(st.booleans())))
        else:
            others = (Residual(channels), nn.Upsample(scale_factor=2.0), nn.AdaptiveAvgPool2d(1))
            layers.append(draw(st.sampled_from(others)))
    return nn.Sequential(*layers).eval()


@example(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.BatchNorm2d(8)))
@settings(max_examples=60)
@given(networks())
def test_rules_and_compiler_agree(model: nn.Module) -> None:
    try:
        with torch.no_grad():
            model(torch.zeros(SPEC.input_shape))
    except RuntimeError:
        assume(False)  # a map too small for the next kernel: torch itself refuses
    assert bool(errors_of(model)) == bool(refusal(model)), (errors_of(model), refusal(model))
