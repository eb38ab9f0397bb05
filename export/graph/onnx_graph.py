"""The graph of a user's ONNX file: handed on as it is, and as a PyTorch module where it has one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from torch import nn

from ...zoo.spec import ModelSpec
from ...zoo.tasks.images import network_inputs
from .files import Graph, GraphError, run_pytorch
from .network import LintError, Network
from .onnx_files import convert_opset, opset_of
from .onnx_session import open_session


class OnnxNetwork(nn.Module):
    """A user's ONNX file where a module is wanted.

    Args:
        proto: static and cleaned.
        module: the same network in torch's functions, proven equal; None where there is none.
        reason: why there is none.
    """

    def __init__(self, proto: onnx.ModelProto, module: nn.Module | None, reason: str) -> None:
        super().__init__()
        self.proto, self.reason = proto, reason
        self.module = module
        self.output_names = tuple(value.name for value in proto.graph.output)

    def forward(self, *inputs: Any) -> Any:
        if self.module is None:
            raise GraphError(self.reason)
        return self.module(*inputs)


class OnnxGraph(Graph):
    """Engines that read ONNX get the user's own file; ONNX Runtime's answers are the reference."""

    def __init__(self, network: OnnxNetwork, spec: ModelSpec, folder: Path) -> None:
        super().__init__(network, spec, folder)
        self._source = network

    def onnx(self, opset: int = 18) -> Path:
        """The file itself, where its opset is not above the wanted one; else converted, proven."""
        path = self.folder / f"model-opset{opset}.onnx"
        with self._timed():
            if not path.exists():
                proto = self._source.proto
                is_newer = opset_of(proto) > opset
                onnx.save(convert_opset(proto, opset) if is_newer else proto, path)
        return path

    def onnx_of_any_opset(self) -> Path:
        return self.onnx(opset_of(self._source.proto))

    def torchscript(self, frozen: bool = True) -> Path:
        self._require_module()
        return super().torchscript(frozen)

    def program(self) -> Path:
        self._require_module()
        return super().program()

    @property
    def network(self) -> Network:
        if self._source.module is None:
            raise LintError(self._source.reason)
        return super().network

    def reference(self, images: np.ndarray, batch: int = 1) -> list[np.ndarray]:
        """ONNX Runtime's own answer in float32, one sample at a time."""
        names = self.spec.input_names
        parts = []
        for index in range(len(images)):
            inputs = network_inputs(images[index : index + 1], self.spec.mean, self.spec.std)
            parts.append(self._session.run(None, dict(zip(names, inputs, strict=True))))
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    @functools.cached_property
    def _session(self) -> Any:
        return open_session(self._source.proto, optimization="none")

    def _require_module(self) -> None:
        if self._source.module is None:
            raise GraphError(
                f"this target reads PyTorch, and the ONNX file has no equal there: "
                f"{self._source.reason}; name the network's PyTorch code instead"
            )


class TorchScriptGraph(OnnxGraph):
    """Converters read the ONNX file; TorchScript's answers are the reference."""

    def __init__(
        self, network: OnnxNetwork, script: nn.Module, spec: ModelSpec, folder: Path
    ) -> None:
        super().__init__(network, spec, folder)
        self._script = script

    def reference(self, images: np.ndarray, batch: int = 1) -> list[np.ndarray]:
        return run_pytorch(self._script, self.spec, images, batch)
