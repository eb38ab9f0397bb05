"""Networks of a user's own, end to end: inputs and outputs of every kind, and files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from edgeark.export.pipeline import export_model
from edgeark.export.sources import InputOptions
from torch import Tensor, nn

ENGINES = ("onnxruntime", "openvino", "mnn", "opencv")


class TwoInputs(nn.Module):
    """An image and a vector; the answer depends on both."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 6, 3, 2), nn.Linear(10, 6)

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        return torch.relu(self.conv(image)).mean((2, 3)) + self.linear(other)


class DictOutput(nn.Module):
    """The key that comes last in the alphabet comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> dict[str, object]:
        y = torch.relu(self.conv(x))
        return {"out": self.head(y), "aux": [y.mean((2, 3)), {"deep": y * 2}]}


class Recurrent(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][:, -1])


NETWORKS = {  # at least three engines each; all of them for the first
    "two_inputs": (TwoInputs(), "image=3x20x28,other=10", ENGINES),
    "dict_output": (DictOutput(), "3x16x24", ("onnxruntime", "openvino", "mnn")),
    "vector": (
        nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)),
        *("12", ("onnxruntime", "mnn", "opencv")),
    ),
    "volume": (
        nn.Sequential(nn.Conv3d(3, 4, 3), nn.ReLU(), nn.Conv3d(4, 2, 1)),
        *("3x8x9x10", ("onnxruntime", "openvino", "mnn")),
    ),
    "four_channels": (
        nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)),
        *("4x16x20", ("onnxruntime", "openvino", "opencv")),
    ),
    "lstm": (
        Recurrent(nn.LSTM(8, 6, batch_first=True, bidirectional=True)),
        *("20x8", ("onnxruntime", "openvino", "opencv")),
    ),
    "gru": (Recurrent(nn.GRU(8, 12, batch_first=True)), "20x8", ("onnxruntime", "mnn", "opencv")),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_every_kind_run_on_engines(name: str, tmp_path: Path) -> None:
    network, shape, engines = NETWORKS[name]
    rows = export_model(network, engines, out=tmp_path, inputs=InputOptions(shapes=shape))
    assert [row.target for row in rows if row.precision == "float32"] == list(engines)
    for row in rows:
        assert row.status == "ok", f"{row.target} {row.precision}: {row.message}"
        assert row.evidence == "executed on noise"
        assert row.sqnr_db is not None and row.sqnr_db > (100 if row.precision == "float32" else 50)
    folder = tmp_path / type(network).__name__ / "onnxruntime" / "float32"
    manifest = json.loads((folder / "manifest.json").read_text())
    named = [each["name"] for each in manifest["tensors"]]
    assert named == (shape_names(shape) if name != "dict_output" else [])
    if name == "dict_output":
        outputs = [each["name"] for each in manifest["outputs"]]
        assert outputs == ["out", "aux.0", "aux.1.deep"]


def shape_names(shape: str) -> list[str]:
    return [part.partition("=")[0] if "=" in part else "input" for part in shape.split(",")]
