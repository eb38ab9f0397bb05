"""A user's TorchScript file as a network: by way of ONNX, proven equal to what TorchScript says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ...core.scratch import scratch_folder
from ...errors import EdgearkError, SourceError
from ..graph.files import run_pytorch, write_onnx
from ..graph.onnx_graph import OnnxGraph
from .network import Source
from .onnx_source import network_of
from .samples import noise_samples

_OPSET = 15  # the exporter that takes TorchScript writes no more
_TOLERANCE = 1e-4  # of the largest answer


def through_onnx(source: Source) -> Source:
    """The source with an ONNX network that answers as its TorchScript does.

    Args:
        source: of a loaded TorchScript file, whose shapes are known.

    Raises:
        SourceError: it cannot be written as ONNX, or answers otherwise then.
    """
    script, spec = source.model, source.spec
    with scratch_folder("torchscript") as scratch:
        path = Path(scratch) / "model.onnx"
        examples = [torch.zeros(shape) for shape in spec.input_shapes]
        try:
            write_onnx(_as_program(script, examples), examples, path, _OPSET, spec.input_names)
            network = network_of(path, source.name, spec)
            samples = noise_samples(spec, 2)
            graph = OnnxGraph(network, spec, Path(scratch))
            answers, wanted = graph.reference(samples), run_pytorch(script, spec, samples, 1)
        except EdgearkError as error:
            raise SourceError(f"{source.name}: TorchScript to ONNX: {error}") from error
    for got, right in zip(answers, wanted, strict=True):
        allowed = _TOLERANCE * max(1.0, float(np.abs(right).max()))
        if got.shape != right.shape or not np.allclose(got, right, rtol=0, atol=allowed):
            raise SourceError(f"{source.name}: its ONNX file answers otherwise than TorchScript")
    return replace(source, model=network, script=script)


def _as_program(network: nn.Module, examples: Sequence[torch.Tensor]) -> nn.Module:
    """TorchScript as it is; in a module of Python's, which the exporter refuses, traced."""
    if isinstance(network, torch.jit.ScriptModule):
        return network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated
        traced: Any = torch.jit.trace(network, tuple(examples))
    traced.output_names = getattr(network, "output_names", ())
    return traced
