"""Photographs for board programs, and what makes two answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images


def write_photos(folder: Path, height: int, width: int) -> list[Path]:
    """Parts of two photographs, one in colour and one gray; PNG, which every board reads.

    They have the width of the network's input and are not resized: the order of a sum would
    decide how a pixel is rounded, and untrained networks answer one other pixel with other boxes.
    """
    first, second = (
        Image.fromarray(photo[100 : 100 + height, 200 : 200 + width])
        for photo in load_sample_images().images
    )
    first.save(folder / "temple.png")
    second.convert("L").save(folder / "flower.png")
    return [folder / "temple.png", folder / "flower.png"]


def check_same(wanted: dict[str, Any], document: dict[str, Any], mask: Path) -> None:
    """Equal answers: of scores to 1e-3, of boxes to half a pixel, of masks but at the border."""
    if "classes" in wanted:
        keys = [[c["index"], c["name"]] for c in wanted["classes"]]
        assert [[c["index"], c["name"]] for c in document["classes"]] == keys
        found, right = ([c["score"] for c in each["classes"]] for each in (document, wanted))
        np.testing.assert_allclose(found, right, atol=1e-3)
    elif "mask" in wanted:
        found = np.asarray(Image.open(mask))
        assert found.shape == wanted["mask"].shape and 0 < wanted["mask"].mean() < 1
        assert (found != wanted["mask"]).mean() < 1e-3
        shares = {entry["index"]: entry["share"] for entry in document["shares"]}
        assert shares[1] == pytest.approx(found.mean())
    else:
        right = wanted["detections"]
        assert right and len(document["detections"]) == len(right), (
            len(right),
            len(document["detections"]),
        )
        for one, other in zip(document["detections"], right, strict=True):
            assert (one["class"], one["name"]) == (other["class"], other["name"])
            assert one["score"] == pytest.approx(other["score"], abs=1e-3)
            np.testing.assert_allclose(one["box"], other["box"], atol=0.5)
