"""What values a network's tensors take on calibration images, and the ranges chosen from them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np
from onnx import ModelProto, helper

from ...graph.onnx_session import open_session

Method = Literal["minmax", "mse"]
_SAMPLED = 64  # pixels of a tensor that are kept from an image


@dataclass(frozen=True, eq=False)
class Statistics:
    """A tensor over all images: float64 ``[channels]``, and ``sample`` ``[n, channels]``."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    sample: np.ndarray

    def scaled(self, factors: np.ndarray) -> Statistics:
        """Of the tensor whose channels are multiplied by positive ``factors``."""
        parts = (self.low, self.high, self.mean, self.sample)
        return Statistics(*(part * factors for part in parts))

    def range(self, method: Method) -> tuple[float, float]:
        """``minmax``: least and greatest value; ``mse``: where 8 bits lose least on the sample."""
        low, high = float(self.low.min()), float(self.high.max())
        if method == "minmax" or low == high:
            return low, high
        return min(
            ((low * shrink, high * shrink) for shrink in np.linspace(0.5, 1, 26)),
            key=lambda ends: _error(self.sample, *ends),
        )


def _error(values: np.ndarray, low: float, high: float) -> float:
    low, high = min(low, 0.0), max(high, 0.0)
    step = (high - low) / 255
    rounded = np.rint(np.clip(values, low, high) / step) * step
    return float(np.square(rounded - values).mean())


def measure(
    proto: ModelProto, images: np.ndarray, tensors: Collection[str]
) -> dict[str, Statistics]:
    """Run the float network and look at its input and at those of ``tensors`` that it has.

    Args:
        proto: the network; takes raw pixels, 0..255.
        images: uint8 ``[N, C, H, W]``.
        tensors: names.
    """
    source = proto.graph.input[0].name
    inner = sorted({name for node in proto.graph.node for name in node.output} & set(tensors))
    whole = ModelProto()
    whole.CopyFrom(proto)
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in inner)
    session = open_session(whole)
    rng = np.random.default_rng(0)
    seen: dict[str, list[Statistics]] = {name: [] for name in (source, *inner)}
    for image in images:
        x = image[None].astype(np.float32)
        for name, values in zip(seen, (x, *session.run(inner, {source: x})), strict=True):
            seen[name].append(_look(np.asarray(values)[0], rng))
    return {name: _joined(parts) for name, parts in seen.items()}


def _look(values: np.ndarray, rng: np.random.Generator) -> Statistics:
    pixels = values.reshape(len(values), -1).T.astype(np.float64)
    some = rng.integers(0, len(pixels), min(_SAMPLED, len(pixels)))
    return Statistics(pixels.min(0), pixels.max(0), pixels.mean(0), pixels[some])


def _joined(parts: list[Statistics]) -> Statistics:
    return Statistics(
        np.min([part.low for part in parts], 0),
        np.max([part.high for part in parts], 0),
        np.mean([part.mean for part in parts], 0),
        np.concatenate([part.sample for part in parts]),
    )
