"""A network of a user's own: its raw outputs, which edgeark knows no meaning of.

Put what they mean into `read`, `describe` and `draw`.

SPDX-License-Identifier: Apache-2.0
"""

import images
import numpy as np


def read(outputs, place, facts, options):
    """``{"outputs": {name: array}}``, float32 with the batch of 1."""
    names = [entry["name"] for entry in facts["outputs"]]
    return {"outputs": dict(zip(names, outputs))}


def describe(answer):
    """One line: the shape, the least and the greatest value of each output."""
    return "; ".join(
        "%s %s %.4g to %.4g" % (name, "x".join(map(str, v.shape)), v.min(), v.max())
        for name, v in answer["outputs"].items()
    )


def draw(image, answer):
    """The image: nothing is known to draw into it."""
    return images.as_rgb(image)


def json_of(answer):
    """The answer as JSON values."""
    return {"outputs": {name: values.tolist() for name, values in answer["outputs"].items()}}


def save_raw(answer, stem):
    """The outputs beside the image, an .npz."""
    np.savez(stem + ".npz", **answer["outputs"])
