"""ONNX operators as functions of torch, one file a family."""

from . import (  # noqa: F401
    activation,
    arithmetic,
    convolution,
    generation,
    indexing,
    linear,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resizing,
    shaping,
)
from .registry import OPERATORS, OnnxError, OnnxNode, Operator

__all__ = ["OPERATORS", "OnnxError", "OnnxNode", "Operator"]
