"""What PyTorch's exporters write wrongly into an ONNX file, whatever reads it then."""

from __future__ import annotations

from . import common
from .rule import Rule

RULES: tuple[Rule, ...] = (
    common.divisor_override("PyTorch's ONNX exporter leaves the divisor out: the values are wrong"),
)
