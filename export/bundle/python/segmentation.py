"""Segmentation: a mask of the image's size.

SPDX-License-Identifier: Apache-2.0
"""

import math

import images
import numpy as np


def read(outputs, place, facts, options):
    """``{"mask": uint8 [h, w], "names": [...]}`` of the image's size.

    The logits are resized, not the mask: its border is smooth then. With one class a pixel is 1
    where its sigmoid exceeds the threshold; with several it is the index of the largest.
    """
    logits = outputs[0][0].transpose(1, 2, 0).astype(np.float32)
    logits = images.resize(logits, *place.size, antialias=True)
    if logits.shape[2] > 1:
        mask = logits.argmax(axis=2).astype(np.uint8)
    else:
        share = facts["head"]["score_threshold"] if options.score is None else options.score
        mask = (logits[..., 0] > math.log(share / (1 - share))).astype(np.uint8)
    names = facts["head"]["classes"]
    return {"mask": mask, "names": ["background", *names] if len(names) == 1 else names}


def describe(answer):
    """One line."""
    return ", ".join("%s %.2f %%" % (c["name"], 100 * c["share"]) for c in _shares(answer))


def draw(image, answer):
    """The image with the mask painted over it."""
    canvas, mask = images.as_rgb(image).astype(np.float32), answer["mask"]
    for value in np.unique(mask[mask > 0]):
        color = images.COLORS[(int(value) - 1) % len(images.COLORS)]
        here = mask == value
        canvas[here] = 0.5 * canvas[here] + 0.5 * np.array(color, np.float32)
    return images.to_bytes(canvas)


def json_of(answer):
    """The answer as JSON values: each class's share of the pixels."""
    return {"shares": _shares(answer)}


def save_raw(answer, stem):
    """The mask as a gray image, whose values are the classes' indices."""
    images.write_image(stem + ".mask.png", answer["mask"])


def _shares(answer):
    values, counts = np.unique(answer["mask"], return_counts=True)
    return [
        {"index": int(v), "name": answer["names"][v], "share": float(n) / answer["mask"].size}
        for v, n in zip(values, counts)
    ]
