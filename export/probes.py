"""What each layer of a network loses on any target: the network gives its layers' results as well.

The converted network has every layer as an output, so it needs nothing of the engine but that it
runs. Engines fuse a convolution with its normalisation and activation: such a chain is one layer
here, as its inner results would keep them from it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from ..errors import EdgearkError
from ..zoo.spec import ModelSpec
from ..zoo.tasks.images import network_inputs
from .graph.files import Graph
from .graph.network import Op, export_program
from .results.compare import compare
from .rewrite.draft import Draft, begin
from .targets.base import LayerError

# What moves numbers and computes none: nothing is lost there.
_MOVES = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "permute", "transpose"),
    *("t", "contiguous", "clone", "detach", "expand", "expand_as", "select", "slice", "split"),
    *("split_with_sizes", "chunk", "unbind", "cat", "stack", "alias", "to", "_to_copy", "dropout"),
    *("repeat", "pad", "constant_pad_nd", "flip", "roll", "pixel_shuffle", "channel_shuffle"),
    *("index_select", "movedim", "swapaxes", "numpy_T"),
}
_BEGINS = {
    *("conv1d", "conv2d", "conv3d", "convolution", "linear", "addmm", "batch_norm", "add"),
    *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
}
_ENDS = {
    *("batch_norm", "relu", "relu6", "hardtanh", "clamp", "silu", "hardswish", "hardsigmoid"),
    *("leaky_relu", "sigmoid", "gelu", "elu", "mish", "tanh", "prelu", "softplus"),
}

Answer = Callable[[Graph], Sequence[np.ndarray]]
"""Converts a network and runs it on the samples: an array ``[N, ...]`` an output."""


@dataclass(frozen=True)
class ProbedNetwork:
    """A network whose layers can be asked for.

    Args:
        draft: its graph.
        layers: in the order of computation.
    """

    draft: Draft
    layers: tuple[Op, ...]

    def module(self, layers: Sequence[Op]) -> fx.GraphModule:
        """The network with the results of these layers as its outputs."""
        graph = fx.Graph()
        placed: dict[fx.Node, fx.Node] = {}
        for node in self.draft.graph.nodes:
            if node.op != "output":
                placed[node] = graph.node_copy(node, placed.__getitem__)
        graph.output(tuple(placed[layer.node] for layer in layers))
        graph.eliminate_dead_code()
        return Draft(graph, self.draft.constants).module()


def probe(graph: Graph) -> ProbedNetwork:
    """The layers of a network.

    Raises:
        EdgearkError: it has no static graph, or no layers.
    """
    prefix = getattr(graph.model, "wrapper_prefix", "")
    draft = begin(export_program(graph.model, *graph.spec.input_shapes), prefix)
    layers = tuple(op for op in draft.network().ops if _is_layer(op))
    if not layers:
        raise EdgearkError("the network has no layers that compute anything")
    return ProbedNetwork(draft, layers)


def measure_layers(
    graph: Graph, samples: np.ndarray, answer: Answer, folder: Path
) -> list[LayerError]:
    """What each layer's result has lost; see :class:`LayerError`.

    A layer's own loss is against PyTorch's layer on the very inputs that it had on the target.

    Args:
        graph: the network.
        samples: what it is asked about.
        answer: the target.
        folder: for the files of the networks with more outputs.

    Raises:
        EdgearkError: the target takes no such network, or its answers are no numbers.
    """
    network = probe(graph)
    found = _ask(graph, network, network.layers, answer, folder)
    module = network.module(network.layers)
    wanted = Graph(module, graph.spec, folder).reference(samples, batch=1)
    own = _own_results(module, graph.spec, samples, found)
    return [
        _judge(layer, *arrays)
        for layer, *arrays in zip(network.layers, wanted, own, found, strict=True)
    ]


def _ask(
    graph: Graph, network: ProbedNetwork, layers: Sequence[Op], answer: Answer, folder: Path
) -> list[np.ndarray]:
    """The target's results of the layers; in two parts where it cannot give so many."""
    out = folder / f"{layers[0].node.name}-{len(layers)}"
    out.mkdir(parents=True)
    model = network.module(layers)
    model.name = getattr(graph.model, "name", "network")  # type: ignore[assignment]
    try:
        return list(answer(Graph(model, graph.spec, out)))
    except EdgearkError:
        if len(layers) == 1:
            raise
        middle = len(layers) // 2
        parts = (layers[:middle], layers[middle:])
        return [array for part in parts for array in _ask(graph, network, part, answer, folder)]


class _OnItsInputs(fx.Interpreter):
    """Runs a network in PyTorch and lets each layer read what the target computed before it."""

    def __init__(self, module: fx.GraphModule, given: Mapping[str, Tensor]) -> None:
        super().__init__(module)
        self._given = given
        self.results: dict[str, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n.name not in self._given:
            return result
        self.results[n.name] = result
        return self._given[n.name].clone()  # an operator in place may follow


@torch.inference_mode()
def _own_results(
    module: fx.GraphModule, spec: ModelSpec, samples: np.ndarray, found: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """PyTorch's result of each layer on the inputs that it had on the target."""
    names = [node.name for node in module.graph.output_node().args[0]]  # type: ignore[union-attr]
    parts = []
    for index in range(len(samples)):
        given = {
            name: torch.from_numpy(np.ascontiguousarray(array[index : index + 1], np.float32))
            for name, array in zip(names, found, strict=True)
        }
        runner = _OnItsInputs(module, given)
        inputs = network_inputs(samples[index : index + 1], spec.mean, spec.std)
        runner.run(*map(torch.from_numpy, inputs))
        parts.append([runner.results[name].numpy() for name in names])
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _judge(layer: Op, wanted: np.ndarray, own: np.ndarray, found: np.ndarray) -> LayerError:
    try:
        total_db, own_db = (compare([each], [found]).sqnr_db for each in (wanted, own))
    except EdgearkError as error:
        raise EdgearkError(
            f"{layer.module or 'the network'} {_maker(layer).kind}: {error}"
        ) from None
    return LayerError(
        name=layer.node.name,
        module=layer.module,
        op=_maker(layer).kind,
        cosine=_cosine(wanted, found),
        sqnr_db=total_db,
        own_cosine=_cosine(own, found),
        own_sqnr_db=own_db,
    )


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    first, second = (values.astype(np.float64).ravel() for values in (one, other))
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / lengths if lengths else float(np.array_equal(first, second))


def _maker(op: Op) -> Op:
    """Who computes it: one of several results is taken out by a node of its own."""
    return (op.before or op) if op.node.target is operator.getitem else op


def _is_layer(op: Op) -> bool:
    """Whether it computes a tensor of floats that leaves what engines fuse."""
    value = op.node.meta.get("val")
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    if _maker(op).kind in _MOVES:
        return False
    if op.kind not in _BEGINS or op.is_output or len(op.node.users) != 1:
        return True
    return not any(user.kind in _ENDS for user in op.users)
