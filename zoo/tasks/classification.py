"""Classification: an image in, the likeliest classes out. NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np


class Prediction(TypedDict):
    """One class of an answer; ``score`` is its softmax probability."""

    index: int
    name: str
    score: float


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def flatten_logits(output: np.ndarray) -> np.ndarray:
    """A network's raw output ``[N, classes, 1, 1]`` (or ``[N, classes]``) as ``[N, classes]``."""
    return output.reshape(len(output), -1)


def top_k(output: np.ndarray, classes: Sequence[str], k: int = 5) -> list[list[Prediction]]:
    """The ``k`` likeliest classes of every image, best first.

    Raises:
        ValueError: there is not one value a class.
    """
    probabilities = softmax(flatten_logits(output).astype(np.float64))
    if probabilities.shape[1] != len(classes):
        found = f"an output of {list(output.shape[1:])}"
        raise ValueError(f"{found} has not one value for each of {len(classes)} classes")
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return [
        [Prediction(index=int(i), name=str(classes[i]), score=float(scores[i])) for i in best]
        for best, scores in zip(order, probabilities, strict=True)
    ]


def top1(output: np.ndarray, labels: np.ndarray) -> float:
    """Share of images whose highest logit is the label's, in 0..1."""
    return float((flatten_logits(output).argmax(axis=1) == labels).mean())
