"""LSTM, GRU and RNN of one layer, forward, reverse or both, with weights that are constant."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .registry import Function, OnnxNode, operator

# Which of ONNX's gates stands where in torch: iofc -> ifgo, zrh -> rzn.
_ORDERS = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _reorder(value: Tensor, order: Sequence[int]) -> Tensor:
    """Of one direction the gates, stacked along the first axis, in torch's order."""
    gates = value.chunk(len(order))
    return torch.cat([gates[i] for i in order])


class _Layer:
    """What the three have in common; adds weights and first states to the node."""

    def __init__(self, node: OnnxNode, kind: str) -> None:
        order = _ORDERS[kind]
        self.direction = node.attribute("direction", "forward")
        self.directions = 2 if self.direction == "bidirectional" else 1
        self.batch_first = bool(node.attribute("layout", 0))
        shape = node.shape(0)
        self.batch, self.length = shape[:2] if self.batch_first else (shape[1], shape[0])
        self.hidden = node.shape(2)[-1]
        self.has_state = node.has(5)
        self.states = 2 if kind == "LSTM" else 1
        self._refuse(node, kind)
        weights, recurrent, biases = (node.take(i) for i in (1, 2, 3))
        assert weights is not None and recurrent is not None
        if biases is None:
            rows = 2 * len(order) * self.hidden
            biases = torch.zeros(self.directions, rows, dtype=weights.dtype)
        node.drop(4)
        if kind == "LSTM" and node.has(5) != node.has(6):
            node.fail("only one of the two first states is given")
        if not self.has_state:
            for index in range(5, 5 + self.states):
                node.drop(index)
                sizes = [self.directions, self.batch, self.hidden]
                zeros = torch.zeros(sizes, dtype=weights.dtype)
                node.add(zeros.transpose(0, 1) if self.batch_first else zeros)
        node.drop(7)
        for i, (w, r, b) in enumerate(zip(weights, recurrent, biases, strict=True)):
            for name, value in zip(_PARAMETERS, (w, r, *b.chunk(2)), strict=True):
                node.add(_reorder(value, order).contiguous(), name + "_reverse" * i)

    def _refuse(self, node: OnnxNode, kind: str) -> None:
        lengths = node.constant(4)
        if node.has(4) and (lengths is None or bool((lengths != self.length).any())):
            node.fail("sequences of different lengths are not supported")
        if node.has(7) or node.attribute("clip") or node.attribute("input_forget", 0):
            node.fail("peepholes, clip and input_forget are not supported")
        wanted = _ACTIVATIONS.get(kind)
        given = node.attribute("activations")
        if given and wanted and given != wanted * self.directions:
            node.fail(f"activations {given} are not supported")

    def arrange(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        if self.batch_first:
            x, states = x.transpose(0, 1), [s.transpose(0, 1) for s in states]
        return (x.flip(0) if self.direction == "reverse" else x), list(states)

    def results(self, y: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """``[T, N, directions * H]`` as ONNX's ``[T, directions, N, H]``, then the last states."""
        y = y.flip(0) if self.direction == "reverse" else y
        y = y.reshape(self.length, self.batch, self.directions, self.hidden)
        if self.batch_first:
            return (y.permute(1, 0, 2, 3), *(s.transpose(0, 1) for s in states))
        return (y.permute(0, 2, 1, 3), *states)


@operator("LSTM")
def lstm(node: OnnxNode) -> Function:
    layer = _Layer(node, "LSTM")
    both = layer.directions == 2

    def function(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        x, state = layer.arrange(x, (h, c))
        y, h, c = torch.lstm(x, state, list(weights), True, 1, 0.0, False, both, False)
        return layer.results(y, (h, c))

    return function


@operator("RNN")
def rnn(node: OnnxNode) -> Function:
    layer = _Layer(node, "RNN")
    functions = {"Tanh": torch.rnn_tanh, "Relu": torch.rnn_relu}
    named = node.attribute("activations") or ["Tanh"]
    if len(set(named)) > 1 or named[0] not in functions:
        node.fail(f"activations {named} are not supported")
    return _with_one_state(layer, functions[named[0]])


@operator("GRU")
def gru(node: OnnxNode) -> Function:
    """torch multiplies by the reset gate behind the matrix; what does so before is unrolled."""
    layer = _Layer(node, "GRU")
    if node.attribute("linear_before_reset", 0):
        return _with_one_state(layer, torch.gru)

    def function(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        x, (h,) = layer.arrange(x, (h,))
        found = [
            _unrolled_gru(x, h[i], weights[4 * i : 4 * i + 4], layer.length, backwards=i == 1)
            for i in range(layer.directions)
        ]
        y = torch.cat([y for y, _ in found], -1)
        return layer.results(y, (torch.stack([last for _, last in found]),))

    return function


def _with_one_state(layer: _Layer, run: Function) -> Function:
    both = layer.directions == 2

    def function(x: Tensor, h: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        x, (h,) = layer.arrange(x, (h,))
        y, h = run(x, h, list(weights), True, 1, 0.0, False, both, False)
        return layer.results(y, (h,))

    return function


def _unrolled_gru(
    x: Tensor, h: Tensor, weights: Sequence[Tensor], length: int, backwards: bool
) -> tuple[Tensor, Tensor]:
    w, r, w_bias, r_bias = weights
    size = h.shape[-1]
    inputs = F.linear(x, w, w_bias + r_bias)
    steps: list[Tensor] = []
    for t in reversed(range(length)) if backwards else range(length):
        part = inputs[t]
        gates = torch.sigmoid(part[:, : 2 * size] + F.linear(h, r[: 2 * size]))
        reset, update = gates[:, :size], gates[:, size:]
        new = torch.tanh(part[:, 2 * size :] + F.linear(reset * h, r[2 * size :]))
        h = (1 - update) * new + update * h
        steps.append(h)
    return torch.stack(steps[::-1] if backwards else steps), h
