"""A Luxonis NN Archive: an ONNX file with what modelconverter and DepthAI have to know of it.

The fields are those of luxonis-ml's ``nn_archive.Config``, version 1.0. DepthAI's parser of YOLOv5
reads sigmoids, so the file in the archive ends with them; those of other heads read their maps in
ways that ours are not, so such an archive gives raw outputs.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import onnx

from ..results.interface import OutputFacts
from ..results.manifest import Manifest
from ..verify import Reopened
from .facts import BundleError

ARCHIVE = "model.tar.xz"
NO_ARCHIVE = "an NN Archive is made of a float32 ONNX file, as of --to onnxruntime without --int8"
_VERSION = "1.0"
_NETWORK = "model.onnx"
_FRAMES = {"rgb": "RGB888p", "bgr": "BGR888p", "gray": "GRAY8"}  # DepthAI's, planes


def write_nn_archive(folder: Path, export: Reopened) -> None:
    """Write ``model.tar.xz`` into a folder.

    Args:
        folder: it is there.
        export: a float32 ONNX file of a network that takes an image.

    Raises:
        BundleError: the export is none.
    """
    manifest = export.manifest
    path = export.folder / manifest.files[0].name
    if path.suffix != ".onnx" or manifest.precision != "float32":
        raise BundleError(NO_ARCHIVE)
    proto = onnx.load(path)
    if manifest.head.decoder == "yolov5":
        _end_with_sigmoids(proto)
    config = json.dumps(describe(manifest), indent=1, ensure_ascii=False).encode()
    with tarfile.open(folder / ARCHIVE, "w:xz") as archive:
        for name, content in ((_NETWORK, proto.SerializeToString()), ("config.json", config)):
            entry = tarfile.TarInfo(name)  # without a time: the same export gives the same file
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def describe(manifest: Manifest) -> dict[str, Any]:
    """The content of ``config.json``."""
    given = manifest.input
    outputs = manifest.outputs
    return {
        "config_version": _VERSION,
        "model": {
            "metadata": {"name": manifest.model, "path": _NETWORK, "precision": "float32"},
            "inputs": [
                {
                    "name": given.name,
                    "dtype": given.type,
                    "input_type": "image",
                    "shape": list(given.shape),
                    "layout": given.layout,
                    "preprocessing": {
                        "mean": list(given.mean),
                        "scale": list(given.std),
                        "dai_type": _FRAMES[given.color],
                        "resize_mode": given.resize.rule.upper(),
                    },
                }
            ],
            "outputs": [
                {"name": each.name, "dtype": each.type, "shape": list(each.shape)}
                for each in outputs
            ],
            "heads": _heads(manifest, outputs),
        },
    }


def _heads(manifest: Manifest, outputs: tuple[OutputFacts, ...]) -> list[dict[str, Any]] | None:
    head, names = manifest.head, [output.name for output in outputs]
    classes = {"classes": list(head.classes), "n_classes": len(head.classes)}
    if head.decoder == "softmax":
        parser, own = "ClassificationParser", {"is_softmax": False}
    elif head.decoder in ("argmax", "threshold"):
        # Of one channel it takes a logit above 0.
        parser = "SegmentationParser"
        own = {"is_softmax": False, "background_class": head.decoder == "argmax"}
    elif head.decoder == "yolov5":
        parser = "YOLOExtendedParser"
        own = {
            "subtype": "yolov5",
            "yolo_outputs": names,
            "iou_threshold": head.iou_threshold,
            "conf_threshold": head.score_threshold,
            "max_det": head.max_boxes,
            "strides": list(head.strides),
            "anchors": [[list(anchor) for anchor in scale] for scale in head.anchors],
        }
    else:
        return None
    return [{"parser": parser, "metadata": {**classes, **own}, "outputs": names}]


def _end_with_sigmoids(proto: onnx.ModelProto) -> None:
    """Under the outputs' own names."""
    graph = proto.graph
    for output in graph.output:
        logits = f"{output.name}_logits"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [logits if name == output.name else name for name in names]
        graph.node.append(onnx.helper.make_node("Sigmoid", [logits], [output.name]))
