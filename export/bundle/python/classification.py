"""Classification: the likeliest classes of an image.

SPDX-License-Identifier: Apache-2.0
"""

import images
import numpy as np


def read(outputs, place, facts, options):
    """``{"classes": [{"index", "name", "score"}]}``, best first; a score is a probability."""
    logits = outputs[0].ravel().astype(np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[: options.top]
    names = facts["head"]["classes"]
    return {
        "classes": [{"index": int(i), "name": names[i], "score": float(shares[i])} for i in best]
    }


def describe(answer):
    """One line."""
    return ", ".join("%s %.1f %%" % (c["name"], 100 * c["score"]) for c in answer["classes"])


def draw(image, answer):
    """The image with the likeliest classes at its top left corner."""
    canvas, y = images.as_rgb(image), 2
    for entry in answer["classes"][:3]:
        text = "%s %.0f%%" % (entry["name"], 100 * entry["score"])
        images.draw_text(canvas, 2, y, text, entry["index"], images.COLORS[1])
        y += max(16, canvas.shape[0] // 30)
    return canvas


def json_of(answer):
    """The answer as JSON values."""
    return answer


def save_raw(answer, stem):
    """Nothing that JSON does not hold."""
