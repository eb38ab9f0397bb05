"""The K210's rules against its compiler: what they call an error is what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.backends.k210.examples import EXAMPLES
from edgeark.export.backends.k210.rules import rules
from edgeark.export.graph.files import Graph
from edgeark.export.graph.fold_normalization import fold_normalization
from edgeark.export.kpu.compiler.compile import compile_kmodel
from edgeark.export.kpu.compiler.lower import lower
from edgeark.export.lint import Example, Finding, capture_network, check
from edgeark.export.lint.examples import ExampleNetwork, Which
from edgeark.zoo import create_model
from edgeark.zoo.spec import ModelSpec
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.k210_cases import SPEC, conv
from torch import Tensor, nn


def found_in(model: nn.Module, spec: ModelSpec = SPEC) -> list[Finding]:
    return check(capture_network(model, spec.input_shape), rules.of(), "k210")


def errors_of(model: nn.Module) -> list[str]:
    return [finding.describe() for finding in found_in(model) if finding.severity == "error"]


def refusal(model: nn.Module, spec: ModelSpec = SPEC) -> str:
    """What the exporter or the compiler says against it; '' where it is taken."""
    with TemporaryDirectory() as folder:
        try:
            proto = onnx.load(Graph(model, spec, Path(folder)).onnx(11))
            lower(fold_normalization(proto, spec.mean, spec.std))
        except EdgearkError as error:
            return str(error)
    return ""


def behind(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(conv(3, 8), *layers)


def spec_of(example: Example, which: Which) -> ModelSpec:
    return replace(SPEC, input_size=example.input_shape(which)[2:])


SEVERITY = {rule.name: rule.severity for rule in rules}
LOWERED = [e for e in EXAMPLES if e.rule not in ("kpu-memory", "main-memory")]
ERRORS = [e for e in LOWERED if SEVERITY[e.rule] == "error"]
DEAR = [e for e in EXAMPLES if e.cpu_ops]


@pytest.mark.parametrize("example", ERRORS, ids=lambda example: example.rule)
def test_an_error_is_what_the_compiler_refuses(example: Example) -> None:
    bad, good = (example.network(which) for which in ("bad", "good"))
    assert refusal(bad, spec_of(example, "bad"))
    assert refusal(good, spec_of(example, "good")) == ""


MOVES = {
    "flip": lambda x: x.flip(3),
    "flip of channels": lambda x: x.flip(1),
    "channels in another order": lambda x: x[:, [1, 0, 2, 3, 4, 5, 6, 7]],
    "transpose": lambda x: x.transpose(1, 2),
    "roll": lambda x: x.roll(1, 3),
}


@pytest.mark.parametrize("name", MOVES)
def test_as_many_numbers_elsewhere_are_refused(name: str) -> None:
    model = ExampleNetwork(MOVES[name], (8, 16, 16), 3)
    assert refusal(model) and errors_of(model)


def steps_of(model: nn.Module) -> str:
    with TemporaryDirectory() as folder:
        proto = onnx.load(Graph(model, SPEC, Path(folder)).onnx(11))
        network = lower(fold_normalization(proto, SPEC.mean, SPEC.std))
    shapes = network.shapes
    words = [f"{step.name} {getattr(step, 'kind', '')}" for step in network.steps]
    pixels = [s.output for s in network.steps if shapes[s.output][1:] == (1, 1)]
    features = ["@features" for step in network.steps if set(step.inputs) & set(pixels)]
    return " ".join(words + features)


@pytest.mark.parametrize("example", DEAR, ids=lambda example: example.rule)
def test_a_warning_is_what_costs_layers(example: Example) -> None:
    """The compiler needs layers for the bad example that the good one does without."""
    dear, cheap = (steps_of(example.network(which)) for which in ("bad", "good"))
    for sign in example.cpu_ops:
        assert sign in dear and sign not in cheap


def test_maps_that_fill_the_kpus_memory(tmp_path: Path) -> None:
    large = ModelSpec(**{**vars(SPEC), "input_size": (200, 200)})
    broken, fixed = (behind(conv(8, 32), conv(32, channels)) for channels in (32, 4))
    images = np.zeros((1, 3, 200, 200), np.uint8)

    def errors(model: nn.Module) -> set[str]:
        return {f.rule for f in found_in(model, large) if f.severity == "error"}

    def compile_it(model: nn.Module, name: str) -> None:
        (tmp_path / name).mkdir()
        proto = onnx.load(Graph(model, large, tmp_path / name).onnx(11))
        compile_kmodel(fold_normalization(proto, large.mean, large.std), images)

    assert errors(broken) == {"kpu-memory"} and errors(fixed) == set()
    with pytest.raises(EdgearkError, match="of the KPU's 2"):
        compile_it(broken, "broken")
    compile_it(fixed, "fixed")


def test_sizes_of_the_whole_network() -> None:
    """Weights against main memory, and the input against the camera."""
    with torch.device("meta"):
        model = create_model("vgg16_bn", input_size=(288, 96))
        network = capture_network(model, (1, 3, 288, 96))
    found = {(f.rule, f.severity) for f in check(network, rules.of(), "k210")}
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
