"""What is said of a name that is not known."""

from __future__ import annotations

import pytest
from edgeark.core.messages import suggest

KNOWN = ["mnist", "mnist_kpu", "yolov5n", "yolov5n_relu", "yolov8n", "rknn:rk3588", "rknn:rk3566"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("minst", "did you mean mnist?"),
        ("MNIST", "did you mean mnist?"),
        ("rk3588", "did you mean rknn:rk3588?"),
        ("rk3588s", "did you mean rknn:rk3588?"),
        ("yolov5", "did you mean yolov5n, yolov5n_relu?"),
        ("yolo", "did you mean yolov5n, yolov5n_relu, yolov8n?"),  # three at most
        ("mni", "did you mean mnist, mnist_kpu?"),
        ("mn", "there are others"),
        ("resnet18", "there are others"),
        ("", "there are others"),
    ],
)
def test_near_names(name: str, hint: str) -> None:
    assert suggest(name, KNOWN, "there are others") == hint
