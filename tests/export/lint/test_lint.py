"""The linter: what rules see of a network, whose network it is, and what the user is told."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark import cli
from edgeark.export.backends.onnxruntime.target import OnnxRuntime, run_onnx
from edgeark.export.check import check_model
from edgeark.export.graph.files import Graph
from edgeark.export.lint import Network, Op, capture_network, check, op_rule
from edgeark.export.pipeline import export_model
from edgeark.export.targets import find_target, list_targets
from edgeark.zoo import create_model, list_models, spec_of
from support.zoo_cases import MADE_FOR
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, max_pool2d

HERE = Path(__file__).name


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.mean((2, 3)))


class Net(nn.Module):
    """One of each: a module's operator, a function's, a constant, two inputs of one operator."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, (3, 1), stride=2, dilation=2)
        self.act = nn.ReLU()
        self.head = Head()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = self.act(y) + gelu(y)
        y = max_pool2d(y, 2)
        return self.head(interpolate(y, scale_factor=2.0, mode="bilinear", align_corners=True))


class Filled(nn.Module):
    """What it writes into is made in ``forward()``, by slices."""

    def forward(self, x: Tensor) -> Tensor:
        y = torch.zeros(1, 3, 16, 16)
        y[:, 1:2] = x[:, 1:2].relu()
        return interpolate(y + torch.zeros(1, 3, 16, 16), scale_factor=2.0, mode="bicubic")


def test_what_the_network_writes_into_is_no_constant() -> None:
    """Else nothing behind it is seen."""
    network = capture_network(Filled(), (1, 3, 16, 16))
    resized = only(network, "upsample_bicubic2d")
    assert resized.is_output and resized.input_shapes == ((1, 3, 16, 16),)
    assert [op.shape for op in network.of_kind("zeros")] == [(1, 3, 16, 16)]  # not the other one


@pytest.fixture(scope="module")
def network() -> Network:
    return capture_network(Net(), (1, 3, 16, 16))


def only(network: Network, kind: str) -> Op:
    (op,) = network.of_kind(kind)
    return op


def line_of(text: str) -> int:
    lines = Path(__file__).read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if text in line)


def test_operators_have_shapes_arguments_and_defaults(network: Network) -> None:
    conv, pool = only(network, "conv2d"), only(network, "max_pool2d")
    assert network.input_shapes == [(1, 3, 16, 16)] == list(conv.input_shapes)
    assert conv.shape == (1, 8, 6, 8)
    assert (conv.kernel, conv.stride, conv.pair("dilation")) == ((3, 1), (2, 2), (2, 2))
    assert conv.arguments["groups"] == 1  # not written: the schema's default
    assert conv.arguments["weight"].shape == (8, 3, 3, 1)
    assert (pool.kernel, pool.stride, pool.pair("padding", 0)) == ((2, 2), (2, 2), (0, 0))
    assert only(network, "upsample_bilinear2d").arguments["align_corners"] is True


def test_operators_know_their_neighbours(network: Network) -> None:
    conv, total = only(network, "conv2d"), only(network, "add")
    assert conv.inputs == (None,)
    assert [op.kind for op in conv.users] == ["relu", "gelu"]
    assert [op and op.kind for op in total.inputs] == ["relu", "gelu"]
    assert only(network, "linear").is_output and not total.is_output


def test_operators_know_their_module_and_line(network: Network) -> None:
    assert [op.module for op in network.of_kind("conv2d", "relu", "linear")] == [
        *("conv", "act", "head.linear")
    ]
    assert only(network, "gelu").module == ""
    at = only(network, "gelu").source
    assert at.endswith(f"{HERE}:{line_of('self.act(y) + gelu(y)')}")
    at = only(network, "linear").source  # the user's line, not torch's own
    assert at.endswith(f"{HERE}:{line_of('return self.linear(')}")


@op_rule("conv2d", name="dilation", reason="kernels have no holes", fix="use two 3x3 kernels")
def dilation(op: Op) -> str | None:
    return f"dilation {op.pair('dilation')}" if op.pair("dilation") != (1, 1) else None


@op_rule(name="any-op", severity="warning", reason="it is slow", fix="leave it out")
def is_gelu(op: Op) -> str | None:
    return "gelu" if op.kind == "gelu" else None


def test_findings_come_in_the_order_of_computation(network: Network) -> None:
    first, second = check(network, [is_gelu, dilation], "chip")
    assert (first.rule, first.severity, first.module) == ("dilation", "error", "conv")
    assert first.describe() == (
        "conv: dilation (2, 2): kernels have no holes; use two 3x3 kernels [dilation]"
    )
    assert (second.rule, second.severity, second.target) == ("any-op", "warning", "chip")
    assert second.describe().startswith(second.source)


def test_a_module_that_is_called_twice_is_one_finding() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=2, dilation=2)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                x = self.conv(x)
            return x

    assert len(check(capture_network(Twice(), (1, 3, 8, 8)), [dilation], "chip")) == 1


class Strict(OnnxRuntime):
    def rules(self):
        return (dilation, is_gelu)


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else x + 1


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view(7, 7)


@pytest.mark.parametrize("module, text", [(Branching, "x.sum() > 0"), (Failing, "x.view(7, 7)")])
def test_a_network_without_a_graph_is_a_finding(
    module: type[nn.Module], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    model = module().train()
    (finding,) = check_model(model, (1, 3, 8, 8), [Strict()])
    assert (finding.rule, finding.severity) == ("static-graph", "error")
    assert finding.source.endswith(f"{HERE}:{line_of(text)}")
    assert model.training
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("module", [nn.Identity, Failing])
def test_frozen_layers_stay_frozen(module: type[nn.Module]) -> None:
    """Whether all goes well or not: detectors keep the normalisation of their backbone."""
    model = nn.Sequential(nn.BatchNorm2d(3).eval(), nn.BatchNorm2d(3), module())
    check_model(model, (1, 3, 8, 8), [Strict()])
    assert [layer.training for layer in (model, *model[:2])] == [True, False, True]


def test_an_export_is_refused_before_the_converter_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_model("mnist_kpu", pretrained=True, spec={"dataset": "digits"})
    convolution = next(m for m in model.modules() if isinstance(m, nn.Conv2d))
    convolution.dilation, convolution.padding = (2, 2), (2, 2)
    monkeypatch.setattr("edgeark.export.pipeline.find_targets", lambda *_: [Strict()])
    monkeypatch.setattr(Strict, "convert", lambda *_: pytest.fail("converted"))
    (row,) = export_model(model, ["onnxruntime"], out=tmp_path, limit=4)
    assert row.status == "error" and "kernels have no holes" in row.message
    assert not list(tmp_path.rglob("*.onnx"))


READ_ONNX = (
    *("mnn", "onnxruntime", "opencv", "opencv5", "openvino", "pplnn", "rknn:rv1106", "tensorrt"),
)


@pytest.mark.parametrize("name", [*READ_ONNX, "rknn1:rk1808", "k210-nncase", "k210"])
def test_whoever_reads_onnx_refuses_what_the_exporter_drops(name: str) -> None:
    pools = {True: nn.AvgPool2d(4, divisor_override=3), False: nn.AvgPool2d(4)}
    for is_dropped, pool in pools.items():
        network = capture_network(
            nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool), (1, 3, 16, 16)
        )
        found = check(network, find_target(name).rules(), name)
        assert any(f.severity == "error" for f in found) is is_dropped


@pytest.mark.parametrize("opset", [11, 12, 15, 17, 18])
def test_the_exporter_drops_a_divisor(opset: int, tmp_path: Path) -> None:
    spec = replace(spec_of(create_model("mnist")), input_size=(8, 8))
    graph = Graph(nn.AvgPool2d(4, divisor_override=3), spec, tmp_path)
    image = np.full((1, 1, 8, 8), 200, np.uint8)
    settings = {"mean": spec.mean, "std": spec.std}
    (wrong,) = run_onnx(graph.onnx(opset), image, settings).outputs
    (right,) = graph.reference(image)
    np.testing.assert_allclose(wrong * 16 / 3, right, rtol=1e-5)


NETS = """
import torch
from torch import nn

class Net(nn.Sequential):
    def __init__(self, channels=3):
        super().__init__(nn.Conv2d(channels, 4, 3))

made = Net(1)
number = 7
def broken(): raise KeyError("lost")
def wrong(): return 7
def needy(a, *, b, c=1): return Net()
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "lint_nets", raising=False)
    (tmp_path / "lint_nets.py").write_text(NETS)
    (tmp_path / "bad_net.py").write_text("import lint_nets\nraise RuntimeError('no')\n")
    return tmp_path


@pytest.fixture
def run_cli(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edgeark", "check", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    return call


def test_the_command_prints_findings_and_fails_on_errors(
    here: Path, run_cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "edgeark.export.backends.onnxruntime.target.OnnxRuntime.rules", Strict.rules
    )
    (here / "holes.py").write_text(
        "from torch import nn\ndef net():\n    return nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2))"
    )
    status, text, _ = run_cli("holes.py:net", "--to", "onnxruntime", "--input-shape", "3x9x9")
    assert status == 1 and "use two 3x3 kernels" in " ".join(text.split())
    status, text, _ = run_cli("mnist", "--to", "onnxruntime")
    assert status == 0 and re.search(r"onnxruntime +fits$", text, re.MULTILINE)
    status, _, err = run_cli("holes.py:net", "--to", "onnxruntim", "--input-shape", "3x9x9")
    assert status == 2 and "onnxruntime" in err and len(err.splitlines()) == 1


FIT_ALL = (
    *("onnxruntime", "torchscript", "opencv", "opencv5", "mnn", "openvino", "ncnn", "rknn"),
    *("litert", "executorch", "coreml", "ethos-u"),
)


@pytest.mark.parametrize("name", list_models())
def test_the_zoo_fits_every_chip_and_the_k210_where_it_says_so(name: str) -> None:
    with torch.device("meta"):  # shapes alone decide
        model = create_model(name)
    spec = spec_of(model)
    made_for = [*FIT_ALL, *(family for family, names in MADE_FOR.items() if name in names)]
    targets = [target for target in map(find_target, list_targets()) if target.name in made_for]
    assert {target.name for target in targets} == set(made_for)
    findings = check_model(model, spec.input_shape, targets)
    assert [f.describe() for f in findings if f.severity == "error"] == []
