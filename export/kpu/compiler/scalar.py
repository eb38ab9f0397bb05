"""Activations as functions of one number, read from whatever ONNX nodes spell them out.

``x * sigmoid(x)`` is two nodes, hard swish is four, and exporters differ. What counts for the KPU
is only that each output element is a function of one input element: it becomes a table. So nodes
are composed into one Python function, and nobody has to recognise names of activations.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Scalar = Callable[[np.ndarray], np.ndarray]
"""float64 array in, float64 array of the same shape out, element by element."""

_LARGE = 3.0e38
_SMALL = 1e-12  # where a function has a pole, as near as a table needs
_PROBES = np.linspace(-10, 10, 201)


def identity(x: np.ndarray) -> np.ndarray:
    """No activation."""
    return x


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _hard_sigmoid(x: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    return np.clip(alpha * x + beta, 0, 1)


def _elu(x: np.ndarray, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _selu(x: np.ndarray, alpha: float, gamma: float) -> np.ndarray:
    return gamma * _elu(x, alpha)


def _reciprocal(x: np.ndarray) -> np.ndarray:
    return 1 / np.where(np.abs(x) < _SMALL, _SMALL, x)


_Attributes = Mapping[str, Any]
_NODES: Mapping[str, Callable[..., np.ndarray]] = {
    "Relu": lambda a, x: np.maximum(x, 0),
    "Clip": lambda a, x, low=-_LARGE, high=_LARGE: np.clip(
        x, a.get("min", low), a.get("max", high)
    ),
    "LeakyRelu": lambda a, x: np.where(x > 0, x, a.get("alpha", 0.01) * x),
    "Sigmoid": lambda a, x: _sigmoid(x),
    "Tanh": lambda a, x: np.tanh(x),
    "HardSigmoid": lambda a, x: _hard_sigmoid(x, a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": lambda a, x: x * _hard_sigmoid(x, 1 / 6, 0.5),
    "Elu": lambda a, x: _elu(x, a.get("alpha", 1.0)),
    "Softplus": lambda a, x: np.logaddexp(0, x),
    "Softsign": lambda a, x: x / (1 + np.abs(x)),
    "Selu": lambda a, x: _selu(x, a.get("alpha", 1.67326319), a.get("gamma", 1.05070102)),
    "Neg": lambda a, x: -x,
    "Abs": lambda a, x: np.abs(x),
    "Exp": lambda a, x: np.exp(np.minimum(x, 80)),
    "Log": lambda a, x: np.log(np.maximum(x, _SMALL)),
    "Sqrt": lambda a, x: np.sqrt(np.maximum(x, 0)),
    "Reciprocal": lambda a, x: _reciprocal(x),
    "Erf": lambda a, x: np.vectorize(math.erf)(x),
    "Sin": lambda a, x: np.sin(x),
    "Cos": lambda a, x: np.cos(x),
    "Atan": lambda a, x: np.arctan(x),
    "Max": lambda a, *x: functools.reduce(np.maximum, x),
    "Min": lambda a, *x: functools.reduce(np.minimum, x),
    "Add": lambda a, x, y: x + y,
    "Sub": lambda a, x, y: x - y,
    "Mul": lambda a, x, y: x * y,
    "Div": lambda a, x, y: x * _reciprocal(np.asarray(y)),
    "Pow": lambda a, x, y: np.power(x if float(y) % 1 == 0 else np.maximum(x, 0), y),
}
ELEMENTWISE = frozenset(_NODES)


def compose(kind: str, attributes: _Attributes, operands: Sequence[Scalar | float]) -> Scalar:
    """The function of x that a node computes from functions of x and constants."""
    node = _NODES[kind]

    def function(x: np.ndarray) -> np.ndarray:
        values = [operand(x) if callable(operand) else operand for operand in operands]
        return node(attributes, *values)

    return function


def is_linear(function: Scalar) -> bool:
    """Nothing is done to a number."""
    return bool(np.allclose(function(_PROBES), _PROBES))


def is_rectifier(function: Scalar) -> bool:
    """ReLU, perhaps with a ceiling such as ReLU6's."""
    y = function(_PROBES)
    return bool(y[-1] > 0 and np.allclose(y, np.clip(_PROBES, 0, y[-1])))
