"""Static graphs: the opset asked for, no leftovers of the exporter, equal to PyTorch."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from edgeark.export.graph.files import Graph, GraphError, write_onnx
from edgeark.export.graph.onnx_session import open_session
from edgeark.zoo import create_model, list_models, spec_of
from edgeark.zoo.tasks.images import normalize
from support.settled import SPEC
from support.zoo_cases import answers, create_small, one_per_family, ready
from torch import nn
from torch.nn import functional as f

FORBIDDEN = {"BatchNormalization", "Reshape", "Flatten", "Shape", "Gather", "ReduceMean", "Gemm"}
ATTENTION = {"Reshape"}  # of heads and pixels: an attention block has it


TRAINED = list_models(pretrained=True)
# Members of a family are alike where they are small; the trained ones have their own sizes.
NAMES = list(dict.fromkeys([*one_per_family(), *TRAINED]))
# Above 15 the other exporter writes, which takes seconds a network.
GRAPHS = [(name, opset) for name in NAMES for opset in (11, 13)]
GRAPHS += [(name, 12 if name in TRAINED else 17) for name in NAMES]
GRAPHS += [(name, 18) for name in ("mnist", "unet_8", "yolo11n")]


def create_alive(name: str) -> torch.nn.Module:
    """The trained network, or a small one whose signal reaches the end."""
    if name in TRAINED:
        return create_model(name, pretrained=True).eval()
    model = create_small(name)
    return ready(model, *spec_of(model).input_shape[1:])


@pytest.mark.parametrize(("name", "opset"), GRAPHS)
def test_onnx_is_static_folded_and_equal(name: str, opset: int, tmp_path: Path) -> None:
    model = create_alive(name)
    spec = spec_of(model)
    graph = Graph(model, spec, tmp_path)
    path = graph.onnx(opset)
    proto = onnx.load(path)
    assert proto.opset_import[0].version == opset
    forbidden = FORBIDDEN - (ATTENTION if name.startswith("yolo11") else set())
    assert not forbidden & {node.op_type for node in proto.graph.node}
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim]
    assert shape == list(spec.input_shape)
    assert all(node.name for node in proto.graph.node)
    assert not proto.metadata_props and not any(n.metadata_props for n in proto.graph.node)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "weights outside the file"

    images = np.random.default_rng(0).integers(0, 256, (3, *spec.input_shape[1:]), np.uint8)
    session = open_session(path)
    inputs = normalize(images, spec.mean, spec.std)
    ours = zip(*(session.run(None, {"input": x[None]}) for x in inputs), strict=True)
    for got, wanted in zip(ours, graph.reference(images), strict=True):
        largest = np.abs(wanted).max()
        assert np.ptp(wanted, axis=0).max() > 1e-3 * largest, "it answers its bias"
        np.testing.assert_allclose(np.concatenate(got), wanted, atol=1e-4 * max(1, largest), rtol=0)


@pytest.mark.parametrize(
    ("model", "opset"),
    [(torch.nn.ReLU(), 15), (torch.nn.Upsample((56, 56)), 18)],
    ids=["plain", "resizing"],
)
def test_any_opset_is_the_quick_one_unless_sizes_are_left_open(
    model: torch.nn.Module, opset: int, tmp_path: Path
) -> None:
    proto = onnx.load(Graph(model, spec_of(create_model("mnist")), tmp_path).onnx_of_any_opset())
    assert proto.opset_import[0].version == opset
    assert "Shape" not in {node.op_type for node in proto.graph.node}


def test_any_opset_survives_an_exporter_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeark.export.graph.files._TORCHSCRIPT_OPSETS", range(7, 9))
    monkeypatch.setattr("edgeark.export.graph.files._DYNAMO_OPSETS", range(18, 19))
    graph = Graph(torch.nn.ReLU(), spec_of(create_model("mnist")), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "export", _fail_below(18))
        assert graph.onnx_of_any_opset().name == "model-opset18.onnx"


def _fail_below(opset: int):
    export = torch.onnx.export

    def failing(*arguments: object, opset_version: int, **keywords: object) -> object:
        if opset_version < opset:
            raise RuntimeError("unsupported")
        return export(*arguments, opset_version=opset_version, **keywords)  # type: ignore[arg-type]

    return failing


def test_nodes_carry_their_modules_names(tmp_path: Path) -> None:
    model = create_model("mnist")
    proto = onnx.load(Graph(model, spec_of(model), tmp_path).onnx(18))
    names = [node.name for node in proto.graph.node]
    assert "features.0.act/Relu" in names
    assert names[-1] == "head/Conv"


@pytest.mark.parametrize("opset", [8, 21, 0])
def test_an_opset_that_cannot_be_written_is_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="9 to 20 can"):
        write_onnx(
            create_model("mnist").eval(), (torch.zeros(1, 1, 28, 28),), tmp_path / "m", opset
        )


def test_an_exporter_that_writes_another_opset_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for 9 to 15 the dynamo exporter says 18 without an error."""
    monkeypatch.setattr("edgeark.export.graph.files._DYNAMO_OPSETS", range(9, 21))
    path = tmp_path / "m.onnx"
    with pytest.raises(GraphError, match="asked for opset 12, the exporter wrote 18"):
        write_onnx(create_model("mnist").eval(), (torch.zeros(1, 1, 28, 28),), path, 12)
    assert not path.exists()


class Unexportable(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x[0, 0]).real


@pytest.mark.parametrize("opset", [13, 18])
def test_a_network_that_cannot_be_exported_says_so(opset: int, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with pytest.raises(GraphError, match=f"cannot be exported at opset {opset}"):
        write_onnx(Unexportable().eval(), (torch.zeros(1, 1, 4, 4),), path, opset)
    assert not path.exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_torchscript_trace_equals_the_network(name: str, tmp_path: Path) -> None:
    model = create_alive(name)
    graph = Graph(model, spec_of(model), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.jit.load(str(graph.torchscript()))
    x = torch.rand(spec_of(model).input_shape)
    with torch.no_grad():
        found, wanted = answers(module, x), answers(model, x)
        exact = answers(copy.deepcopy(model).double(), x.double())
    for got, float32, float64 in zip(found, wanted, exact, strict=True):
        # Random weights can magnify rounding: then PyTorch's own is the measure.
        rounding = (float32 - float64).abs().max().item()
        tolerance = max(1e-4 * max(1, float32.abs().max().item()), 4 * rounding)
        torch.testing.assert_close(got, float32, atol=tolerance, rtol=0)
    assert "batch_norm" not in str(module.inlined_graph)


def test_the_reference_is_the_normalised_network(tmp_path: Path) -> None:
    model = create_model("mnist", pretrained=True).eval()
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 28, 28), np.uint8)
    spec = spec_of(model)
    with torch.no_grad():
        x = (torch.from_numpy(images).float() - spec.mean[0]) / spec.std[0]
        wanted = model(x).numpy()
    found = Graph(model, spec, tmp_path).reference(images, batch=3)
    np.testing.assert_allclose(found[0], wanted, atol=1e-5)


def test_another_form_of_the_network_has_files_of_its_own(tmp_path: Path) -> None:
    """And takes turns with it: PyTorch's exporters do not run side by side."""
    model = create_model("mnist", width=0.1)
    graph = Graph(model, spec_of(model), tmp_path)
    other = graph.variant("doubled", torch.nn.Sequential(copy.deepcopy(model), torch.nn.ReLU()))
    assert other.onnx(11) != graph.onnx(11)
    assert "Relu" in onnx.load(other.onnx(11)).graph.node[-1].op_type
    assert other.seconds == graph.seconds > 0
    assert graph.variant("doubled", other.model).onnx(11) == other.onnx(11)


class Refused(nn.Module):
    """The old exporter has no form of ``threshold``, and cannot trace ``max_unpool2d``."""

    def __init__(self, unpools: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.unpools = unpools

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        if self.unpools:
            return f.max_unpool2d(*f.max_pool2d(x, 2, return_indices=True), 2)
        return f.threshold(x, 0.1, 0.0)


@pytest.mark.parametrize("unpools", [True, False])
def test_what_an_exporter_refuses_is_one_line_and_nothing_else_is_printed(
    unpools: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    graph = Graph(Refused(unpools), SPEC, tmp_path)
    with pytest.raises(GraphError, match=r"^the network cannot be exported at opset 11: .+$"):
        graph.onnx(11)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert graph.onnx_of_any_opset().name == "model-opset18.onnx"  # by the new exporter
    if unpools:
        with pytest.raises(GraphError, match="cannot be traced"):
            graph.torchscript()
