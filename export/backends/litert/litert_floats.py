"""What of an int8 file is to stay float32: arithmetic that 256 levels spoil.

A quotient, a root, an exponential or a logarithm spreads values over orders of magnitude: a small
divisor becomes 0, of which LiteRT's int8 kernel stops. Such an operator stays in float32, with the
arithmetic before and behind it; convolutions, matrix products, pools and whatever moves values are
in int8 all the same. A part of the worker, run inside the toolchain's environment.
"""

from __future__ import annotations

from ai_edge_litert.tools import flatbuffer_utils

MARK = "/float32"
_SPOILED = {"DIV", "SQRT", "RSQRT", "EXP", "LOG", "POW", "ELU"}
_ARITHMETIC = _SPOILED | {
    *("ABS", "ADD", "LOGISTIC", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "NEG", "SELECT", "SELECT_V2"),
    *("BROADCAST_TO", "REDUCE_MAX", "REDUCE_MIN", "RESHAPE", "SQUARE", "SQUARED_DIFFERENCE"),
    *("SUB", "SUM", "TANH", "TRANSPOSE"),
}


def mark(path):
    """Let the names of what such operators give end in :data:`MARK`."""
    model = flatbuffer_utils.read_model(path)
    graph = model.subgraphs[0]  # the others are bodies of operators that have no int8
    marked = _connected(graph, _kinds(model, graph))
    for tensor in (graph.tensors[i] for op in marked for i in op.outputs):
        name = tensor.name if isinstance(tensor.name, str) else tensor.name.decode()
        tensor.name = f"{name}{MARK}"
    if marked:
        flatbuffer_utils.write_model(model, path)
    return bool(marked)


def _kinds(model, graph):
    """By an operator's place, its name."""
    codes = [flatbuffer_utils.opcode_to_name(model, i) for i in range(len(model.operatorCodes))]
    return [codes[op.opcodeIndex] for op in graph.operators]


def _connected(graph, kinds):
    """The operators of arithmetic that hang together with one that would be spoiled."""
    makers = {t: i for i, op in enumerate(graph.operators) for t in op.outputs}
    readers = {}
    for i, op in enumerate(graph.operators):
        for t in op.inputs:
            readers.setdefault(t, []).append(i)
    inputs = set(graph.inputs)
    waiting = [
        i
        for i, op in enumerate(graph.operators)
        if kinds[i] in _SPOILED and (kinds[i] != "DIV" or {*op.inputs[1:]} & (inputs | {*makers}))
    ]
    found = set()
    while waiting:
        i = waiting.pop()
        if i in found or kinds[i] not in _ARITHMETIC:
            continue
        found.add(i)
        op = graph.operators[i]
        waiting += [makers[t] for t in op.inputs if t in makers]
        waiting += [reader for t in op.outputs for reader in readers.get(t, ())]
    return [graph.operators[i] for i in sorted(found)]
