"""What a page does before and behind the network, under Node.js, against the NumPy reference."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeark.export.bundle.write import HERE
from edgeark.zoo.tasks.boxes import nms
from edgeark.zoo.tasks.classification import softmax
from edgeark.zoo.tasks.detection import decode_dfl, decode_yolov5, decode_yolox, sigmoid
from edgeark.zoo.tasks.images import resize, to_planes
from edgeark.zoo.tasks.letterbox import Letterbox, letterbox
from edgeark.zoo.tasks.segmentation import resize_logits, to_mask
from sklearn.datasets import load_sample_images

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this machine")

STRIDES = (8, 16, 32)
ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30.5, 61.25), (62, 45)), ((116, 90),))
SCRIPT = Path(__file__).parents[2] / "support" / "web_post.mjs"
JS_NAMES = {"float32": "Float32Array", "uint8": "Uint8Array"}
NUMPY_NAMES = {"Float32Array": "<f4", "Uint8Array": "u1", "Uint8ClampedArray": "u1"}


def array(values: np.ndarray) -> dict[str, str]:
    content = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"type": JS_NAMES[values.dtype.name], "base64": content}


def tensor(values: np.ndarray) -> dict[str, Any]:
    return {"dims": values.shape, "data": array(values)}


def image_data(image: np.ndarray) -> dict[str, Any]:
    """As a canvas has it: RGBA."""
    pixels = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
    data = array(np.concatenate([pixels, opaque], axis=2))
    return {"width": image.shape[1], "height": image.shape[0], "data": data}


def call(jobs: Sequence[tuple[str, str, Sequence[Any]]]) -> Iterator[Any]:
    """The results of functions of the page's modules, in one process."""
    lines = [
        json.dumps({"module": module, "function": function, "arguments": list(arguments)})
        for module, function, arguments in jobs
    ]
    command = [str(shutil.which("node")), str(SCRIPT), str(HERE / "web")]
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    def decode(found: dict[str, Any]) -> Any:
        if "base64" not in found:
            return found
        return np.frombuffer(base64.b64decode(found["base64"]), NUMPY_NAMES[found["type"]])

    answers = done.stdout.splitlines()
    assert len(answers) == len(jobs)
    return (json.loads(answer, object_hook=decode) for answer in answers)


def make_maps(rng: np.random.Generator, channels: Sequence[int]) -> list[np.ndarray]:
    """Raw maps, finest first; ``channels`` a map, the same number of maps a stride."""
    size, each = rng.integers(1, 4, 2), len(channels) // len(STRIDES)
    scales = [4 >> (i // each) for i in range(len(channels))]
    return [
        rng.normal(-0.5, 2.0, (1, count, *(size * scale))).astype(np.float32)
        for count, scale in zip(channels, scales, strict=True)
    ]


def detection_cases() -> Iterator[tuple[dict[str, Any], list[np.ndarray], Any]]:
    """Heads, their raw maps, and the boxes that the zoo decodes."""
    rng = np.random.default_rng(0)
    for classes, threshold in ((1, 0.25), (2, 0.5), (4, 0.0), (80, 0.6), (300, 0.9)):
        head = {
            "strides": STRIDES,
            "classes": [f"class {index}" for index in range(classes)],
            "score_threshold": threshold,
            "scores": "logits",
        }
        maps = make_maps(rng, [len(sizes) * (5 + classes) for sizes in ANCHORS])
        wanted = decode_yolov5(maps, STRIDES, ANCHORS, threshold)
        yield {**head, "decoder": "yolov5", "anchors": ANCHORS}, maps, wanted
        for channels in ([5 + classes] * 3, [4, 1, classes] * 3):
            maps = make_maps(rng, channels)
            yield {**head, "decoder": "yolox"}, maps, decode_yolox(maps, STRIDES, threshold)
        shares = [m if i % 3 == 0 else sigmoid(m) for i, m in enumerate(maps)]
        wanted = decode_yolox(shares, STRIDES, threshold, activated=True)
        yield {**head, "decoder": "yolox", "scores": "probabilities"}, shares, wanted
        for bins in (1, 2, 16):
            maps = make_maps(rng, [4 * bins, classes] * 3)
            yield {**head, "decoder": "dfl"}, maps, decode_dfl(maps, STRIDES, threshold)


def test_detections_are_the_zoos() -> None:
    cases, image_size = list(detection_cases()), (70, 90)
    mapping = Letterbox((0.9, 0.8), (3, 5), image_size)
    place = {"scale": mapping.scale, "offset": mapping.pad, "limits": image_size[::-1]}
    heads = [{**head, "iou_threshold": 0.45, "max_boxes": 40} for head, _, _ in cases]
    jobs = [
        ("detection.mjs", "read", ([tensor(m) for m in maps], place, {"head": head}, {}))
        for head, (_, maps, _) in zip(heads, cases, strict=True)
    ]
    total = 0
    for found, (head, _, (candidates,)) in zip(call(jobs), cases, strict=True):
        kept = nms(candidates, 0.45, 40)
        boxes = mapping.to_image(kept.xyxy)
        seen = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
        ours = found["detections"]
        assert [each["class"] for each in ours] == kept.classes[seen].tolist(), head["decoder"]
        assert all(each["name"] == head["classes"][each["class"]] for each in ours)
        np.testing.assert_allclose([e["score"] for e in ours], kept.scores[seen], rtol=1e-5)
        found_boxes = np.array([each["box"] for each in ours]).reshape(-1, 4)
        np.testing.assert_allclose(found_boxes, boxes[seen], rtol=1e-5, atol=1e-3)
        total += len(ours)
    assert total > 300


def test_of_classes_that_are_equally_sure_the_first_wins() -> None:
    """Past 17 the sigmoid is 1 in float32, however much larger one logit is."""
    values = np.zeros((1, 5 + 4, 1, 1), np.float32)
    values[0, 4:, 0, 0] = 50, 3, 30, 60, 30
    head = {"decoder": "yolov5", "strides": [8], "anchors": [[[9, 9]]], "classes": list("abcd")}
    head |= {"score_threshold": 0.5, "iou_threshold": 0.5, "max_boxes": 9}
    place = {"scale": [1, 1], "offset": [0, 0], "limits": [99, 99]}
    ((found,),) = (
        each["detections"]
        for each in call([("detection.mjs", "read", ([tensor(values)], place, {"head": head}, {}))])
    )
    assert found["name"] == "b"


@pytest.mark.parametrize("classes", [1, 2, 21])
def test_masks_are_the_zoos(classes: int) -> None:
    rng = np.random.default_rng(classes)
    decoder, names = "threshold" if classes == 1 else "argmax", [str(n) for n in range(classes)]
    facts = {"head": {"decoder": decoder, "classes": names, "score_threshold": 0.3}}
    sizes = [(24, 32), (97, 61), (10, 7)]
    logits = rng.normal(0, 2, (1, classes, 24, 32)).astype(np.float32)
    jobs = [("segmentation.mjs", "read", ([tensor(logits)], size, facts, {})) for size in sizes]
    for found, size in zip(call(jobs), sizes, strict=True):
        (wanted,) = to_mask(resize_logits(logits, size), 0.3)
        mask = found["mask"].reshape(size)
        assert (found["height"], found["width"]) == size
        assert (mask != wanted).mean() < 1e-3
        assert sum(each["share"] for each in found["shares"]) == pytest.approx(1)
        assert {each["index"] for each in found["shares"]} == set(np.unique(mask))


def test_likeliest_classes_are_the_zoos() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (1, 40, 1, 1)).astype(np.float32)
    logits[0, 7] = logits[0, 3] = 9  # of equals the first
    facts = {"head": {"classes": [f"class {n}" for n in range(40)]}}
    arguments = ([tensor(logits)], None, facts, {"top": 5})
    (found,) = call([("classification.mjs", "read", arguments)])
    wanted = softmax(logits.reshape(1, 40))[0]
    order = np.argsort(-wanted, kind="stable")[:5]
    assert [each["index"] for each in found["classes"]] == order.tolist()
    assert order[:2].tolist() == [3, 7]
    np.testing.assert_allclose([e["score"] for e in found["classes"]], wanted[order], rtol=1e-5)


def facts_of(size: tuple[int, int], color: str, centred: bool = True) -> dict[str, Any]:
    return {
        "input": {"height": size[0], "width": size[1], "color": color},
        "resize": {"antialias": True, "centred": centred, "pad_value": 114},
    }


def check_pixels(found: np.ndarray, wanted: np.ndarray) -> None:
    """Up to the rounding of a pixel in a thousand, which the order of a sum decides."""
    difference = np.abs(found.reshape(wanted.shape).astype(int) - wanted)
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_images_are_resized_as_edgeark_does() -> None:
    image = load_sample_images().images[0]
    cases = [
        (pixels, size, color)
        for size in ((64, 96), (97, 33), (427, 640), (500, 301))
        for pixels, color in ((image, "rgb"), (image, "gray"), (image[..., 0], "gray"))
    ]
    jobs = [
        ("classification.mjs", "prepare", (image_data(pixels), facts_of(size, color)))
        for pixels, size, color in cases
    ]
    for found, (pixels, size, color) in zip(call(jobs), cases, strict=True):
        planes = to_planes(pixels, 1 if color == "gray" else 3)
        check_pixels(found["planes"], resize(planes, size))


def test_letterboxes_are_those_of_edgeark() -> None:
    image = load_sample_images().images[1]
    cases = [
        (image[:height, :width], centred)
        for height, width in ((427, 640), (301, 77), (3, 500))
        for centred in (True, False)
    ]
    jobs = [
        ("detection.mjs", "prepare", (image_data(part), facts_of((96, 160), "bgr", centred)))
        for part, centred in cases
    ]
    for found, (part, centred) in zip(call(jobs), cases, strict=True):
        wanted, mapping = letterbox(part, (96, 160), "bgr", centred=centred)
        check_pixels(found["planes"], wanted[0])
        assert tuple(found["place"]["scale"]) == mapping.scale
        assert tuple(found["place"]["offset"]) == mapping.pad
        assert found["place"]["limits"] == [part.shape[1], part.shape[0]]


def test_raw_outputs_are_listed() -> None:
    values = np.array([[1.5, -2.0, 0.25]], np.float32)
    (answer,) = call([("raw.mjs", "read", ([tensor(values)], None, {"outputs": [{"name": "y"}]}))])
    (row,) = next(call([("raw.mjs", "rows", ({"outputs": [{"name": "y", **tensor(values)}]},))]))
    assert answer["outputs"][0]["data"].tolist() == values[0].tolist()
    assert row == {"name": "y 1x3", "text": "-2.000 to 1.500"}
