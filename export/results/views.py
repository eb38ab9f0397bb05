"""The manifest's facts in the words of other tools, inside the files that these tools open.

- Ultralytics' keys (``names``, ``imgsz``, ``stride``, ``task`` ...) in ``metadata_props`` of ONNX
  files and in a ``metadata.json`` behind a ``.tflite``. Its ``date`` is left out: the same network
  gives the same file.
- ``model_info`` of OpenVINO's Model API, in ONNX files and in the ``rt_info`` of an IR, for the
  networks of colour images that its wrappers (0.4.7) read as they are: classification with an
  output ``[1, classes]`` (of ``[1, classes, 1, 1]`` they fail to name the classes), segmentation of
  two classes or more. Its detectors expect decoded boxes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import onnx

from ...zoo.spec import ModelSpec
from ..tasks import get_task

_ULTRALYTICS_TASKS = {
    "classification": "classify",
    "segmentation": "segment",
    "detection": "detect",
}
_RESIZE_TYPES = {"stretch": "standard", "letterbox": "fit_to_window_letterbox"}
_METADATA = zipfile.ZipInfo("metadata.json", (1980, 1, 1, 0, 0, 0))  # the earliest that ZIP has
_WITHOUT_SPACES = str.maketrans({" ": "_", "\t": "_", "\n": "_", "\r": "_"})


Shapes = Sequence[tuple[int, ...]]


def write_views(path: Path, spec: ModelSpec, shapes: Shapes) -> None:
    """Add them to a file whose program normalises the image; nothing to other kinds of files.

    Args:
        path: a runtime's file, ``.onnx`` or ``.tflite``.
        spec: the network's.
        shapes: of its outputs.
    """
    if spec.inputs or not spec.classes:
        return
    if path.suffix == ".onnx":
        proto = onnx.load(path)
        info = {f"model_info {key}": value for key, value in model_info(spec, shapes).items()}
        onnx.helper.set_model_props(proto, {**ultralytics_keys(spec), **info})
        onnx.save(proto, path)
    elif path.suffix == ".tflite":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(_METADATA, json.dumps(ultralytics_keys(spec), indent=1))


def ultralytics_keys(spec: ModelSpec) -> dict[str, str]:
    """What Ultralytics' loaders and converters for its files read: Python literals as text."""
    from ... import __version__

    values = {
        "description": spec.description,
        "author": "edgeark",
        "version": __version__,
        "license": spec.license,
        "stride": max(spec.strides, default=1),
        "task": _ULTRALYTICS_TASKS.get(spec.task, spec.task),
        "batch": 1,
        "imgsz": list(spec.input_size),
        "names": dict(enumerate(spec.classes)),
        "channels": spec.in_channels,
    }
    return {key: str(value) for key, value in values.items()}


def model_info(spec: ModelSpec, shapes: Shapes, *, normalized: bool = False) -> dict[str, str]:
    """What OpenVINO's Model API reads; nothing where no wrapper of it fits.

    Its images are BGR, as OpenCV reads them; labels have no spaces, and segmentation none for the
    background.

    Args:
        spec: the network's.
        shapes: of its outputs, in PyTorch's layout.
        normalized: the file subtracts the mean itself.
    """
    decoder, ranks = get_task(spec.task).decoder(spec), [len(shape) for shape in shapes]
    kind = {("softmax", 2): "Classification", ("argmax", 4): "Segmentation"}.get(
        (decoder, ranks[0])
    )
    if kind is None or len(ranks) != 1 or spec.inputs or spec.in_channels != 3 or not spec.classes:
        return {}
    labels = spec.classes[1:] if decoder == "argmax" else spec.classes
    found = {
        "model_type": kind,
        "labels": " ".join(label.translate(_WITHOUT_SPACES) or "_" for label in labels),
        "resize_type": _RESIZE_TYPES[get_task(spec.task).resize_rule(spec)],
        "reverse_input_channels": str(spec.color == "rgb"),
    }
    if not normalized:
        found["mean_values"] = " ".join(map(str, spec.mean))
        found["scale_values"] = " ".join(map(str, spec.std))
    return found
