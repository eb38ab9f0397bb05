"""No rule of any target fails on any operator of torch, whatever goes into it.

Operators come from torch's own schemas. Arguments are the plainest that the operator takes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import pytest
import torch
from edgeark.export.graph.network import Network
from edgeark.export.lint import Rule
from edgeark.export.targets import every_target
from torch import Tensor, fx

RANKS = range(1, 7)
SIDE = 2
# Which tensors are activations: all, the first alone, all but the first
MODES = ("activations", "constants behind", "constant first")


# Torch's own: kernels that trust their arguments and read beyond them, or write files. No exported
# network has them, but for the private ones that convolutions, attention and resizing are made of.
INTERNAL = ("backward", "cudnn", "fbgemm", "file", "jagged", "miopen", "mkldnn", "nested", "print")
INTERNAL += ("qparams", "quantize", "rnn", "segment_reduce", "sparse", "to_padded")
EXPORTED = ("_adaptive", "_log_softmax", "_native_batch_norm", "_scaled_dot", "_softmax", "_unsafe")
EXPORTED += ("_upsample", "_weight_norm")


def is_exported(name: str) -> bool:
    is_public = not name.startswith("_") or name.startswith(EXPORTED)
    return is_public and not any(word in name for word in INTERNAL)


def operators() -> Iterator[torch._ops.OpOverload]:
    for name in filter(is_exported, sorted(dir(torch.ops.aten))):
        packet = getattr(torch.ops.aten, name)
        if isinstance(packet, torch._ops.OpOverloadPacket):
            for overload in packet.overloads():
                if overload not in ("out", "Tensor_out", "dimname"):
                    yield getattr(packet, overload)


def candidates(argument: Any, rank: int, number: int) -> Any:
    """What a required argument that is no tensor is given."""
    kind = str(argument.type)
    shape = [SIDE] * rank
    if kind.startswith("List[int]"):
        return ([1] * (argument.N or 1), shape, [0] if "dim" in argument.name else [2])[number]
    one = 0 if "dim" in argument.name else 1  # of 0 pixels or groups torch itself dies
    plain = {"int": (one, 1, 2), "float": (1.0, 0.5, 1.0), "bool": (False, True, False)}
    plain |= {"number": (1, 2, 0.5), "str": ("constant", "mean", "none")}
    plain |= {"Scalar": (1, 2, 0.5), "List[bool]": ([True], [False], [True])}
    if kind not in plain:
        raise TypeError(kind)
    return plain[kind][number]


def is_tensor(argument: Any) -> bool:
    return str(argument.type) in ("Tensor", "Optional[Tensor]", "List[Tensor]")


def network_of(
    operator: torch._ops.OpOverload, rank: int, mode: str, number: int
) -> Network | None:
    """One operator between input and output; None where it does not take such arguments."""
    graph, constants, seen = fx.Graph(), {}, 0
    arguments: list[Any] = []
    for argument in operator._schema.arguments:
        if argument.kwarg_only:
            break
        if argument.has_default_value() and not is_tensor(argument):
            arguments.append(argument.default_value)
            continue
        if not is_tensor(argument):
            arguments.append(candidates(argument, rank, number))
            continue
        node = graph.placeholder(f"x{seen}")
        is_first, seen = seen == 0, seen + 1
        node.meta["val"] = torch.ones([SIDE] * rank, device="meta")
        if mode != "activations" and (mode == "constant first") is is_first:
            constants[node] = torch.ones([SIDE] * rank)
        arguments.append([node, node] if str(argument.type) == "List[Tensor]" else node)
    values = fx.map_arg(tuple(arguments), lambda node: node.meta["val"])
    result = operator(*values)
    node = graph.call_function(operator, tuple(arguments))
    node.meta["val"] = result
    graph.output((node,))
    is_shaped = isinstance(result, (Tensor, tuple, list))
    return Network(graph, constants) if is_shaped else None


def all_rules() -> Sequence[Rule]:
    unique = {id(rule.match): rule for target in every_target() for rule in target.rules()}
    return list(unique.values())


@pytest.mark.parametrize("rank", RANKS)
def test_no_rule_fails_on_any_operator(rank: int) -> None:
    rules, failures, tried = all_rules(), {}, set()
    for operator in operators():
        for mode, number in product(MODES, range(3)):
            if (operator, mode) in tried:
                continue
            try:
                network = network_of(operator, rank, mode, number)
            except Exception:  # noqa: BLE001 (the operator refuses these arguments)
                continue
            if network is None:
                continue
            tried.add((operator, mode))
            for rule in rules:
                try:
                    list(rule.match(network))
                except Exception as error:  # noqa: BLE001
                    place = error.__traceback__
                    while place is not None and place.tb_next is not None:
                        place = place.tb_next
                    line = place.tb_lineno if place else 0
                    failures.setdefault((rule.name, type(error).__name__, line), str(operator))
    assert len(tried) > 500, len(tried)
    assert failures == {}, failures
