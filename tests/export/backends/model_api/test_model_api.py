"""OpenVINO's Model API opens exports: what it needs to know is in their files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.graph.files import Graph
from edgeark.export.pipeline import export_all
from edgeark.export.prepare import EvalContext
from edgeark.export.run import answer_image
from edgeark.export.targets import find_target
from edgeark.export.toolchains import Toolchain
from edgeark.training.data import ImageSet
from edgeark.zoo import spec_of
from PIL import Image
from support.settled import make_images
from support.speaking import make_network
from torch import nn

# uv pip compile --universal --generate-hashes -o requirements.txt requirements.in
READER = Toolchain(
    name="openvino-model-api",
    packages=("openvino-model-api",),
    home=Path(__file__).parent,
    python=">=3.11",
    download_mb=120,
)
SCRIPT = """
import json, sys, cv2, numpy as np, openvino
from model_api.adapters import OpenvinoAdapter
from model_api.models import Model
options = {"INFERENCE_PRECISION_HINT": "f32"}
adapter = OpenvinoAdapter(openvino.Core(), sys.argv[1], device="CPU", plugin_config=options)
model = Model.create_model(adapter)
answer = model(cv2.imread(sys.argv[2]))
kind = type(model).__name__
if kind == "ClassificationModel":
    best = answer.top_labels[0]
    found = {"index": int(best.id), "name": best.name, "score": float(best.confidence)}
else:
    np.save(sys.argv[3], answer.resultImage)
    found = {"labels": list(model.params.labels)}
print(json.dumps({"kind": kind, **found}))
"""
NAMES = ("red cell", "white", "größe")


def export_named(model: str, target: str, folder: Path) -> Path:
    """A small network with three classes of its own, exported as a user does it."""
    network = make_network(model, in_channels=3, num_classes=3, spec={"classes": NAMES})
    spec = spec_of(network)
    if spec.task == "classification":
        network = nn.Sequential(network, nn.Flatten())
    images = make_images(3, spec.input_shape[1:], seed=1)
    is_mask = spec.task == "segmentation"
    labels = np.ones((3, *spec.input_size), np.uint8) if is_mask else np.arange(3)
    test = ImageSet("own", "test", images, labels, NAMES)
    graph = Graph(network, spec, folder)
    context = EvalContext(model, spec, graph, test, graph.reference(images), lambda: test)
    (row, *_) = export_all(context, [find_target(target)], folder / "exports")
    assert row.artifact is not None and row.sqnr_db is not None, row.message
    assert row.sqnr_db > 70
    return row.artifact


def ask(*arguments: object) -> dict[str, Any]:
    command: Sequence[str] = [str(READER.ensure()), "-c", SCRIPT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("model", ["mobilenet_v1_025", "unet_8"])
def test_model_api_answers_as_edgeark_does(model: str, target: str, tmp_path: Path) -> None:
    file = export_named(model, target, tmp_path)
    height, width = spec_of(make_network(model)).input_size
    pixels = make_images(1, (3, height, width), seed=5)[0].transpose(1, 2, 0)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = ask(file, tmp_path / "image.png", tmp_path / "mask.npy")
    wanted = answer_image(str(file), tmp_path / "image.png").meaning
    if model == "unet_8":
        assert (found["kind"], found["labels"]) == ("SegmentationModel", ["white", "größe"])
        mask = np.load(tmp_path / "mask.npy")
        assert mask.shape == (height, width) and len(np.unique(wanted["mask"])) > 1
        assert (mask != wanted["mask"]).mean() < 1e-3
    else:
        best = wanted["classes"][0]
        assert (found["kind"], found["index"]) == ("ClassificationModel", best["index"])
        assert found["name"] == best["name"].replace(" ", "_")
        assert found["score"] == pytest.approx(best["score"], abs=2e-3)
