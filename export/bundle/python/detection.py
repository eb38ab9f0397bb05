"""Detection: boxes in the image's pixels, from the raw maps of YOLOv5, YOLOX and DFL heads.

A place whose score is under the threshold is not decoded: that is most of them.

SPDX-License-Identifier: Apache-2.0
"""

import images
import numpy as np

_MAX_EXPONENT = 20.0  # exp(20) times a stride is wider than any image


def read(outputs, place, facts, options):
    """``{"detections": [{"box": [x1, y1, x2, y2], "score", "class", "name"}]}``, best first."""
    head = facts["head"]
    threshold = head["score_threshold"] if options.score is None else options.score
    overlap = head["iou_threshold"] if options.iou is None else options.iou
    decode = {"yolov5": _yolov5, "yolox": _yolox, "dfl": _dfl}[head["decoder"]]
    centres, sizes, scores = (np.concatenate(p) for p in zip(*decode(outputs, head, threshold)))
    classes, best = scores.argmax(axis=1), scores.max(axis=1)
    chosen = np.flatnonzero(best > threshold)
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)[chosen]
    classes, best = classes[chosen], best[chosen]
    limits = np.array(place.size[::-1] * 2)
    found = []
    for index in _suppress(boxes, best, classes, overlap, head["max_boxes"]):
        box = np.clip((boxes[index] - place.offset) / place.scale, 0, limits)
        if box[2] > box[0] and box[3] > box[1]:  # what lay in the grey alone has no area
            number = int(classes[index])
            found.append(
                {
                    "box": [float(side) for side in box],
                    "score": float(best[index]),
                    "class": number,
                    "name": head["classes"][number],
                }
            )
    return {"detections": found}


def describe(answer):
    """One line."""
    return ", ".join(
        "%s %.1f %% at %s" % (d["name"], 100 * d["score"], " ".join("%.0f" % s for s in d["box"]))
        for d in answer["detections"]
    )


def draw(image, answer):
    """The image with a box and a name around each object."""
    canvas = images.as_rgb(image)
    line = max(1, min(canvas.shape[:2]) // 200)
    for entry in answer["detections"][::-1]:  # the best ones last, so on top
        color = images.COLORS[entry["class"] % len(images.COLORS)]
        images.draw_box(canvas, entry["box"], color, line)
        text = "%s %.0f%%" % (entry["name"], 100 * entry["score"])
        x, y = entry["box"][:2]
        images.draw_text(canvas, x, y + line, text, entry["class"], color)
    return canvas


def json_of(answer):
    """The answer as JSON values."""
    return answer


def save_raw(answer, stem):
    """Nothing that JSON does not hold."""


def _sigmoid(x):
    return 1 / (1 + np.exp(np.minimum(-x, 80.0)))


def _yolov5(outputs, head, threshold):
    """Of each stride: centres and sizes ``[n, 2]`` in input pixels, scores ``[n, classes]``."""
    for output, stride, anchors in zip(outputs, head["strides"], head["anchors"]):
        raw = output[0].reshape(len(anchors), -1, *output.shape[2:])
        anchor, row, column = np.nonzero(_sigmoid(raw[:, 4]) > threshold)
        values = _sigmoid(raw[anchor, :, row, column])
        cells = np.stack([column, row], axis=1).astype(values.dtype)
        centres = (2 * values[:, :2] - 0.5 + cells) * stride
        sizes = (2 * values[:, 2:4]) ** 2 * np.asarray(anchors, values.dtype)[anchor]
        yield centres, sizes, values[:, 4:5] * values[:, 5:]


def _yolox(outputs, head, threshold):
    if len(outputs) == len(head["strides"]):  # box, objectness and classes joined in one map
        outputs = [part for o in outputs for part in (o[:, :4], o[:, 4:5], o[:, 5:])]
    activate = (lambda x: x) if head["scores"] == "probabilities" else _sigmoid
    for index, stride in enumerate(head["strides"]):
        box, objectness, classes = (o[0] for o in outputs[3 * index : 3 * index + 3])
        likely = activate(objectness[0])
        row, column = np.nonzero(likely > threshold)
        cells = np.stack([column, row], axis=1).astype(box.dtype)
        centres = (box[:2, row, column].T + cells) * stride
        sizes = np.exp(np.minimum(box[2:, row, column].T, _MAX_EXPONENT)) * stride
        yield centres, sizes, likely[row, column, None] * activate(classes[:, row, column].T)


def _dfl(outputs, head, threshold):
    activate = (lambda x: x) if head["scores"] == "probabilities" else _sigmoid
    for index, stride in enumerate(head["strides"]):
        box, classes = (o[0] for o in outputs[2 * index : 2 * index + 2])
        scores = activate(classes)
        row, column = np.nonzero(scores.max(axis=0) > threshold)
        sides = box[:, row, column].T.reshape(len(row), 4, -1)  # left, top, right, bottom
        if sides.shape[2] > 1:
            shares = np.exp(sides - sides.max(axis=2, keepdims=True))
            shares /= shares.sum(axis=2, keepdims=True)
            sides = shares @ np.arange(sides.shape[2], dtype=sides.dtype)[:, None]
        sides = sides[..., 0]
        middle = np.stack([column, row], axis=1).astype(box.dtype) + 0.5
        low, high = middle - sides[:, :2], middle + sides[:, 2:]
        yield (low + high) / 2 * stride, (high - low) * stride, scores[:, row, column].T


def _suppress(boxes, scores, classes, overlap, most):
    """Indices of the boxes that stay, best first: greedy, within a class."""
    order, kept = np.argsort(-scores, kind="stable"), []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(best)
        low = np.maximum(boxes[best, :2], boxes[order, :2])
        high = np.minimum(boxes[best, 2:], boxes[order, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        union = areas[best] + areas[order] - common
        iou = common / np.maximum(union, np.finfo(np.float32).tiny)
        order = order[~((iou > overlap) & (classes[order] == classes[best]))]
    return kept
