"""A network's graph while it is rewritten: constants by name, operators that can be replaced.

A rule is traced on its own by ``torch.export`` and its operators take the place of one; they keep
the module and the line of the user's that the replaced one had.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...errors import EdgearkError
from ..graph.network import Network, Op, constant_names

_WHOSE = ("nn_module_stack", "stack_trace")
_SURE = ("aten._assert_tensor_metadata.default",)  # says what the graph knows
_COPY = "aten.lift_fresh_copy.default"


class RewriteError(EdgearkError):
    """The network cannot be rewritten; the message says why."""


@dataclass(frozen=True)
class Draft:
    """A graph whose nodes of kind ``get_attr`` name what ``constants`` holds.

    ``prefix`` is that of a wrapper, which names of modules lack; see :class:`Network`.
    """

    graph: fx.Graph
    constants: Mapping[str, Tensor]
    prefix: str = ""

    def network(self) -> Network:
        held = [node for node in self.graph.nodes if node.op == "get_attr"]
        constants = {node: self.constants[str(node.target)] for node in held}
        return Network(self.graph, constants, self.prefix)

    def replace(
        self,
        op: Op,
        rule: Callable[..., Tensor | None],
        *,
        with_before: bool = False,
        following: Sequence[Op] | None = None,
    ) -> Draft | None:
        """Another draft, in which ``rule`` computes what ``op`` does.

        Args:
            op: of this draft's network, with one result.
            rule: takes the operator's arguments in the order of its schema, defaults too; integer
                constants are real tensors. Returns None where it does not apply.
            with_before: it takes a list of the arguments of the operator in front, instead of the
                first argument, which is what that one computes.
            following: it computes what the last of these does, which read one another's result, the
                first of them that of ``op``; it takes one list, of lists of an operator and its
                arguments, in which None stands for such a result.
        """
        traced = _trace(op, rule, with_before, following)
        if traced is None:
            return None
        program, given = traced
        graph, constants = fx.Graph(), dict(self.constants)
        placed: dict[fx.Node, fx.Node] = {}
        last = [op, *(following or ())][-1]
        for node in self.graph.nodes:
            if node is last.node:
                sources = iter([placed[one] for one in given])
                placed[node] = _inline(program, sources, op, graph, constants)
            else:
                placed[node] = graph.node_copy(node, placed.__getitem__)
        graph.eliminate_dead_code()
        return Draft(graph, constants, self.prefix)

    def module(self) -> fx.GraphModule:
        """In evaluation mode; parameters are the tensors of the network that was drafted."""
        root = nn.Module()
        for node in self.graph.find_nodes(op="get_attr"):
            register(root, node.target, self.constants[node.target])
        return fx.GraphModule(root, self._of_any_batch(), "Rewritten").eval()

    def _of_any_batch(self) -> fx.Graph:
        """A copy in which constants are expanded to the batch of the input, not to 1."""
        known = self.network().constants
        graph = fx.Graph()
        placed: dict[fx.Node, fx.Node] = {}
        for node in self.graph.nodes:
            placed[node] = graph.node_copy(node, placed.__getitem__)
            if node.target is not torch.ops.aten.expand.default or node not in known:
                continue
            x, shape = node.args[:2]
            (image, *others) = self.graph.find_nodes(op="placeholder")
            if x.meta["val"].ndim == len(shape) and shape[0] == 1 and not others:
                with graph.inserting_before(placed[node]):
                    batch = graph.call_function(torch.ops.aten.sym_size.int, (placed[image], 0))
                placed[node].update_arg(1, [batch, *shape[1:]])
        return graph


def begin(program: torch.export.ExportedProgram, prefix: str = "") -> Draft:
    """Of the graph that ``export_program`` gives; ``prefix`` is that of the draft.

    Raises:
        RewriteError: it has parts that are no operators, or a name that fx cannot write.
    """
    names = constant_names(program)
    for name in names.values():
        if strange := [part for part in name.split(".") if not _is_writable(part)]:
            raise RewriteError(f"{strange[0]!r} in {name!r} is no name for code: rename the module")
    if program.graph.find_nodes(op="get_attr"):
        raise RewriteError(
            "the network has graphs within its graph (autocast on the CPU, cond ...): leave them "
            "out"
        )
    values = {**program.state_dict, **program.constants}
    graph = fx.Graph()
    placed: dict[fx.Node, fx.Node] = {}
    for node in program.graph.nodes:
        if node in names:
            placed[node] = _hold(graph, names[node], node)
        elif str(node.target) == _COPY and node.args[0] in names:
            placed[node] = placed[node.args[0]]
        elif node.op == "output":
            flat = [placed.get(one, one) for one in node.args[0]]
            spec = program.call_spec.out_spec
            graph.output(flat if spec is None else pytree.tree_unflatten(flat, spec))
        elif str(node.target) not in _SURE:
            placed[node] = graph.node_copy(node, placed.__getitem__)
    for node in graph.nodes:
        _out_of_place(node)
        _free_batch(node)
    graph.eliminate_dead_code()
    held = {str(node.target) for node in graph.find_nodes(op="get_attr")}
    return Draft(graph, {name: values[name] for name in held}, prefix)


def _is_writable(part: str) -> bool:
    return bool(re.fullmatch(r"\w+", part, re.ASCII)) and not keyword.iskeyword(part)


def register(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Under a dotted name; modules between are made."""
    *path, last = name.split(".")
    for part in path:
        if part not in dict(root.named_children()):
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        root.register_parameter(last, tensor)
    else:
        root.register_buffer(last, tensor)


def _out_of_place(node: fx.Node) -> None:
    """``relu_`` is ``relu`` where nothing else reads what it writes over.

    A rule may give a view of a map where a copy was, which is not to be written over.
    """
    target = node.target
    if not isinstance(target, torch._ops.OpOverload) or not target._schema.name.endswith("_"):
        return
    source: Any = node.args[0]
    readers = list(source.users)
    later = any(reader > node for reader in readers)
    if later or source.op != "call_function" or any(map(_is_view, [source, *readers])):
        return
    packet = getattr(torch.ops.aten, target._schema.name.removeprefix("aten::")[:-1], None)
    other = getattr(packet, target._overloadname, None)
    if other is not None:
        node.target = other


def _free_batch(node: fx.Node) -> None:
    """The first side of a reshape is whatever is left: the batch, or what is joined with it."""
    if str(node.target) not in ("aten.view.default", "aten.reshape.default"):
        return
    shape = node.meta["val"].shape
    if len(shape) and 0 not in shape:
        node.update_arg(1, [-1, *shape[1:]])


def _is_view(node: fx.Node) -> bool:
    """Whether the result may lie where an argument does, but by an operator in place."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or schema.is_mutable:
        return False
    return any(result.alias_info is not None for result in schema.returns)


class _Traced(nn.Module):
    def __init__(self, rule: Callable[..., Tensor | None], arguments: list[Any]) -> None:
        super().__init__()
        self.rule, self.arguments = rule, arguments

    def forward(self, *given: Tensor) -> Tensor | None:
        return self.rule(*_filled(self.arguments, iter(given)))


@dataclass(frozen=True)
class _Place:
    """Of an activation among an operator's arguments."""


def _filled(value: Any, given: Any) -> Any:
    if isinstance(value, _Place):
        return next(given)
    return [_filled(one, given) for one in value] if isinstance(value, (list, tuple)) else value


def _trace(
    op: Op,
    rule: Callable[..., Tensor | None],
    with_before: bool,
    following: Sequence[Op] | None,
) -> tuple[torch.export.ExportedProgram, list[fx.Node]] | None:
    """The rule's graph, and the nodes of the network that go into it."""
    sources: list[fx.Node] = []

    def take(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [take(one) for one in value]
        if not isinstance(value, fx.Node):
            return value
        constant = op.network.constants.get(value)
        if constant is not None and not constant.is_floating_point():
            return constant
        sources.append(value)
        return _Place()

    values = _values(op.node)
    if with_before:
        assert op.before is not None and op.before.node is values[0]
        values[0] = _values(op.before.node)
    if following is not None:
        steps = [[one.node.target, None, *_values(one.node)[1:]] for one in following]
        values = [[[op.node.target, *values], *steps]]
    arguments = take(values)
    examples = [node.meta["val"] for node in sources]
    zeros = tuple(torch.zeros(e.shape, dtype=e.dtype, device=e.device) for e in examples)
    program = torch.export.export(_Traced(rule, arguments).eval(), zeros)
    (result,) = program.graph.output_node().args[0]  # type: ignore[misc]
    return None if result is None else (program, sources)


def _values(node: fx.Node) -> list[Any]:
    """Its arguments in the order of its schema, defaults too."""
    declared = node.target._schema.arguments  # type: ignore[union-attr]
    named = dict(zip((one.name for one in declared), node.args, strict=False)) | node.kwargs
    return [named.get(one.name, one.default_value) for one in declared]


def _inline(
    program: torch.export.ExportedProgram,
    sources: Any,
    op: Op,
    graph: fx.Graph,
    constants: dict[str, Tensor],
) -> fx.Node:
    """The rule's nodes at the end of ``graph``; the node of its result."""
    names = constant_names(program)
    whose = {key: op.node.meta[key] for key in _WHOSE if key in op.node.meta}
    placed: dict[fx.Node, fx.Node] = {}
    for node in program.graph.nodes:
        if node.op == "output":
            (result,) = node.args[0]
            return placed[result]
        if node in names:
            name = _free_name(constants)
            value: Any = program.constants[names[node]]
            constants[name] = value.to(op.node.meta["val"].device)
            placed[node] = _hold(graph, name, node)
        elif node.op == "placeholder":
            placed[node] = next(sources)
        elif str(node.target) not in _SURE:
            placed[node] = graph.node_copy(node, placed.__getitem__)
            placed[node].meta |= whose
    raise AssertionError("a graph has an output")


def _free_name(constants: Mapping[str, Tensor]) -> str:
    number = 0
    while f"constant_{number}" in constants:
        number += 1
    return f"constant_{number}"


def _hold(graph: fx.Graph, name: str, like: fx.Node) -> fx.Node:
    node = graph.create_node("get_attr", name)
    node.meta = dict(like.meta)
    return node
