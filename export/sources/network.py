"""A network as every command takes it: a module, its inputs, and who answers for it."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ...errors import SourceError
from ...zoo.spec import ModelSpec
from ..graph.files import Graph
from ..graph.onnx_graph import OnnxGraph, OnnxNetwork, TorchScriptGraph
from ..rewrite import Change, Folded, fold_branches

Reference = Literal["pytorch", "onnxruntime", "torchscript"]
"""Whose answers a target's are compared with."""


@dataclass(frozen=True)
class Source:
    """A network to check, rewrite or export.

    Args:
        name: of its folder and its rows.
        model: in evaluation mode, with its ``spec``; its outputs are a tuple of tensors.
        spec: how it is fed and read.
        reference: whose answers count as right.
        script: the TorchScript that gives these answers, where ``model`` is ONNX made of it.
    """

    name: str
    model: nn.Module
    spec: ModelSpec
    reference: Reference = "pytorch"
    script: nn.Module | None = None

    @property
    def original(self) -> nn.Module:
        """The network with its outputs as nested as the user wrote them."""
        return self.model.network if isinstance(self.model, FlatOutputs) else self.model

    @functools.cached_property
    def _folded(self) -> Folded:
        if self.reference != "pytorch":
            return Folded(self.model)
        return fold_branches(self.model, self.spec.input_shapes)

    @property
    def folded(self) -> Source:
        """The network as it is deployed, without the branches that its blocks train by."""
        model = self._folded.model
        return self if model is self.model else replace(self, model=model)

    @property
    def folding(self) -> tuple[Change, ...]:
        """What :attr:`folded` changes, a block each."""
        return self._folded.changes

    def make_graph(self, folder: Path) -> Graph:
        """The files that converters read, made in ``folder`` when they are asked for."""
        if isinstance(self.model, OnnxNetwork) and self.script is not None:
            return TorchScriptGraph(self.model, self.script, self.spec, folder)
        if isinstance(self.model, OnnxNetwork):
            return OnnxGraph(self.model, self.spec, folder)
        return Graph(self.model, self.spec, folder)


class FlatOutputs(nn.Module):
    """A user's network with its outputs in one tuple, whatever they were nested in.

    ``output_names`` are the keys of a dictionary or the fields of a named tuple, joined by dots;
    plain tuples and lists give numbers. A single tensor stays as it is. The order is the network's.

    Args:
        network: it may return a tensor, or tuples, lists and dictionaries of these.
        examples: one tensor an input, to find out what it returns.

    Raises:
        SourceError: the forward pass fails, or returns no tensor.
    """

    wrapper_prefix = "network."  # of its parts' names, which diagnostics leave out

    def __init__(self, network: nn.Module, examples: Sequence[Tensor]) -> None:
        super().__init__()
        self.network = network.eval()
        with torch.no_grad():
            try:
                answer = network(*examples)
            except Exception as error:
                raise SourceError(_explain(error, examples)) from error
        leaves, _ = pytree.tree_flatten_with_path(answer)
        paths = [_dotted(path) for path, leaf in leaves if isinstance(leaf, Tensor)]
        if not paths:
            raise SourceError(
                f"its forward pass returns {_describe(answer)}, and no tensor in it: "
                "return a tensor, or a tuple, list or dict of tensors"
            )
        self.is_single = isinstance(answer, Tensor)
        self.output_names = ("output",) if self.is_single else _unique(paths)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        answer = self.network(*inputs)
        if self.is_single:
            return answer
        return tuple(leaf for leaf in pytree.tree_leaves(answer) if isinstance(leaf, Tensor))


def safe_name(name: str) -> str:
    """A name that a folder can have: it comes from a file's or a hub's."""
    return re.sub(r"[^\w.+=@ -]", "_", name).strip(" .-")[:100] or "network"


def named_as(model: nn.Module, source: Source) -> nn.Module:
    """Another form of a source's network, with its name, spec and output names."""
    model.name, model.spec = source.name, source.spec  # type: ignore[assignment]
    names = getattr(source.model, "output_names", None)
    if names is not None:
        model.output_names = names
    return model


def _dotted(path: Sequence[Any]) -> str:
    parts = []
    for key in path:
        name = next((getattr(key, a) for a in ("key", "idx", "name") if hasattr(key, a)), key)
        parts.append(str(name))
    return ".".join(parts)


def _unique(paths: Sequence[str]) -> tuple[str, ...]:
    """Names that start with a letter: those of tuples are numbers."""
    names = [path if path[:1].isalpha() else f"output{path}" for path in paths]
    if len(set(names)) < len(names):
        return tuple(f"output{index}" for index in range(len(names)))
    return tuple(names)


def _describe(answer: Any) -> str:
    if isinstance(answer, Mapping):
        return f"a dict with the keys {', '.join(map(str, answer)) or '(none)'}"
    return "None" if answer is None else f"a {type(answer).__name__}"


def _explain(error: Exception, examples: Sequence[Tensor]) -> str:
    """One line: which input was tried, what the network said, and the usual cause."""
    shapes = ", ".join("x".join(map(str, example.shape[1:])) for example in examples)
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    words = f"its forward pass fails for an input of {shapes}: {type(error).__name__}: {said}"
    first = examples[0].shape if examples else ()
    if len(first) == 4 and first[3] in (1, 3, 4) and first[1] > 4:
        return f"{words}; --input-shape has channels first: {first[3]}x{first[1]}x{first[2]}?"
    return f"{words}; is --input-shape right?"
