"""A network as rules see it: operators of torch's own set, each with its module and source line.

The graph is ``torch.export``'s: it holds what an image of one fixed size meets, under the names
of ``aten`` (``conv2d``, ``upsample_bilinear2d``), whatever way the user wrote it (``nn.Upsample``
or ``interpolate``), before any converter has rewritten it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...core.messages import format_shape
from ...errors import EdgearkError
from ...zoo.modes import evaluating
from .folding import fold_constants
from .program_sigmoids import read_written_sigmoids
from .regions import inline_regions

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
# Frames that are nobody's source: torch's, and edgeark's own that open and run files.
_HERE = Path(__file__).parent
_NO_SOURCE = (Path(torch.__file__).parent, _HERE, _HERE.with_name("sources"))
# Of operators that may draw random numbers: the arguments that say whether they do.
_DRAWS_WHERE = ("train", "training", "dropout_p", "dropout")


class LintError(EdgearkError):
    """The network cannot be made into a graph; ``source`` is ``file:line`` where that is known."""

    rule = "static-graph"
    fix = "let shapes and branches depend on nothing that is computed from the input"

    def __init__(self, message: str, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class RandomNumbersError(LintError):
    """``forward()`` draws random numbers, so no two runs give the same answer."""

    rule = "random-numbers"
    consequence = "each run gives another answer, and no engine can be compared with it"
    fix = "take them as an input, or make them once and register them as a buffer"


@dataclass(frozen=True, eq=False)
class Op:
    """One operator of a :class:`Network`, a view of a node of its graph."""

    node: fx.Node
    network: Network

    @property
    def kind(self) -> str:
        """The name in ``aten``, without overload, or the mark of what works in place: ``relu``.

        What is not aten's, in full.
        """
        target = self.node.target
        if not isinstance(target, torch._ops.OpOverload):
            return str(target)
        name = target._schema.name.removeprefix("aten::")
        return name.removesuffix("_") if target._schema.is_mutable else name

    @property
    def module(self) -> str:
        """Dotted name of the innermost module, '' for the network itself."""
        stack = self.node.meta.get("nn_module_stack") or {}
        names = [name for name, _ in stack.values()]
        path = _attribute_path(names[-1]) if names else ""
        return f"{path}.".removeprefix(self.network.prefix).rstrip(".")

    @property
    def source(self) -> str:
        """``file:line`` of the user's call, '' where it is not known."""
        return find_source(self.node.meta.get("stack_trace") or "")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result; of several, of the first."""
        return _shape(self.node)

    @property
    def inputs(self) -> tuple[Op | None, ...]:
        """Who computed each activation that goes in; None stands for the network's input."""
        return tuple(
            self.network.by_node.get(node)
            for node in self.node.all_input_nodes
            if node not in self.network.constants
        )

    @property
    def before(self) -> Op | None:
        """Who computed the first activation that goes in; None where no operator did."""
        return next(iter(self.inputs), None)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the activations that go in."""
        nodes = self.node.all_input_nodes
        return tuple(_shape(node) for node in nodes if node not in self.network.constants)

    @property
    def users(self) -> tuple[Op, ...]:
        """The operators that read the result."""
        found = (self.network.by_node.get(node) for node in self.node.users)
        return tuple(op for op in found if op is not None)

    @property
    def is_output(self) -> bool:
        """Whether the result leaves the network."""
        return any(user.op == "output" for user in self.node.users)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """By the names of aten's schema, with its defaults; constants are tensors.

        Activations are the graph's nodes, for which :attr:`inputs` is the better place.
        """
        target = self.node.target
        if not isinstance(target, torch._ops.OpOverload):
            return dict(self.node.kwargs)
        declared = target._schema.arguments
        given = dict(zip((a.name for a in declared), self.node.args, strict=False))
        values = {a.name: a.default_value for a in declared} | given | dict(self.node.kwargs)
        known = self.network.constants
        return {
            name: known.get(value, value) if isinstance(value, fx.Node) else value
            for name, value in values.items()
        }

    def pair(self, name: str, default: int = 1) -> tuple[int, int]:
        """An argument that torch takes as one number, as two or as none: (vertical, horizontal)."""
        value = self.arguments.get(name)
        if value is None or value == []:
            return default, default
        if isinstance(value, int):
            return value, value
        first, *rest = value
        return int(first), int(rest[0] if rest else first)

    @property
    def kernel(self) -> tuple[int, int]:
        """Of a convolution or a pool: height and width."""
        weight = self.shape_of("weight")
        return (weight[2], weight[3]) if len(weight) == 4 else self.pair("kernel_size")

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Of an argument that is a tensor, computed or constant; () of anything else."""
        value = self.arguments.get(name)
        if isinstance(value, fx.Node):
            return _shape(value)
        return tuple(value.shape) if isinstance(value, Tensor) else ()

    @property
    def scale_factors(self) -> tuple[float | None, ...]:
        """By which a resize enlarges each side; () where it names a size."""
        given = self.arguments
        if "scale_factors" in given:
            return tuple(given["scale_factors"] or ())
        named = [given.get(f"scales_{side}") for side in "dhw" if f"scales_{side}" in given]
        named = named or ([given["scales"]] if "scales" in given else [])
        return () if None in named else tuple(named)

    @property
    def stride(self) -> tuple[int, int]:
        """Of a convolution or a pool; a pool without one steps by its kernel."""
        kernel = self.kernel
        given = self.arguments.get("stride")
        return kernel if given in (None, []) else self.pair("stride", kernel[0])


class Network:
    """The operators in the order of computation; ``constants``: what its other nodes hold.

    What is computed of constants alone is a constant: exporters fold it. Names of modules lack
    ``prefix``, that of a wrapper which the user did not write.
    """

    def __init__(self, graph: fx.Graph, constants: Mapping[fx.Node, Any], prefix: str = "") -> None:
        nodes = graph.nodes
        self.prefix = prefix
        self.constants = fold_constants(graph, constants)
        self.ops = [
            Op(node, self)
            for node in nodes
            if node.op == "call_function" and node not in self.constants
        ]
        self.by_node = {op.node: op for op in self.ops}
        self.input_shapes = [
            _shape(node)
            for node in nodes
            if node.op == "placeholder" and node not in self.constants
        ]

    def of_kind(self, *kinds: str) -> Iterator[Op]:
        return (op for op in self.ops if op.kind in kinds)


def capture_network(model: nn.Module, *input_shapes: Sequence[int]) -> Network:
    """What rules look at: :func:`export_program`, which says what it raises."""
    program = export_program(model, *input_shapes)
    inline_regions(program, with_autocast=True)
    read_written_sigmoids(program)
    values = {**program.state_dict, **program.constants}
    named = constant_names(program)
    constants = {node: values.get(name) for node, name in named.items()}
    return Network(program.graph, constants, getattr(model, "wrapper_prefix", ""))


def _refuse_random_numbers(graph: fx.Graph) -> None:
    """Look at every node: one that reads no activation would else be folded as a constant."""
    for node in graph.nodes:
        if _draws_random_numbers(node):
            name = node.target._schema.name.removeprefix("aten::").removesuffix("_")
            source = find_source(node.meta.get("stack_trace") or "")
            consequence = RandomNumbersError.consequence
            raise RandomNumbersError(f"{name} draws random numbers: {consequence}", source)


def _draws_random_numbers(node: fx.Node) -> bool:
    """By PyTorch's own tag; what drops out in training alone draws nothing in evaluation."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    declared = node.target._schema.arguments
    given = dict(zip((a.name for a in declared), node.args, strict=False)) | dict(node.kwargs)
    values = [given.get(a.name, a.default_value) for a in declared if a.name in _DRAWS_WHERE]
    return all(values)


def constant_names(program: torch.export.ExportedProgram) -> dict[fx.Node, str]:
    """Parameters, buffers and other constants, by their names in the network."""
    signature = program.graph_signature
    names = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    return {node: names[node.name] for node in program.graph.nodes if node.name in names}


def export_program(model: nn.Module, *input_shapes: Sequence[int]) -> torch.export.ExportedProgram:
    """The graph of ``model`` in evaluation mode for float32 inputs of these shapes.

    Raises:
        LintError: the forward pass fails, or depends on the values that it computes.
        RandomNumbersError: it draws random numbers.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise LintError(
            "TorchScript that no ONNX file answers for has no graph to look at: give the network's "
            "code, or save torch.export's program of it"
        )
    place = next((p.device for p in model.parameters()), None)
    try:
        with _quiet(), evaluating(model):
            examples = tuple(torch.zeros(*shape, device=place) for shape in input_shapes)
            program = torch.export.export(model, examples)
            inline_regions(program)
            _drop_detaching(program.graph)
    except Exception as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        shown = lines[0].strip() if lines else type(error).__name__
        shapes = " and ".join(map(format_shape, input_shapes))
        trace = "".join(f'File "{f}", line {n}\n' for f, n in _frames(error))
        raise LintError(
            f"no static graph for an input of {shapes}: {shown}",
            find_source(trace),
        ) from error
    for module in program.graph_module.modules():  # the regions of autocast are modules of it
        if isinstance(module, fx.GraphModule):
            _refuse_random_numbers(module.graph)
    return program


def _drop_detaching(graph: fx.Graph) -> None:
    """``detach_`` writes nothing: of a tensor that ``forward()`` makes, it hides the values."""
    for node in graph.find_nodes(op="call_function", target=torch.ops.aten.detach_.default):
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)


@contextmanager
def _quiet() -> Iterator[None]:
    """Of a graph that fails torch logs and prints the half; the finding says where and why."""
    chatter = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    level = chatter.level
    chatter.setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        chatter.setLevel(level)


def find_source(trace: str) -> str:
    """``file:line`` of the innermost frame that is the user's; '' for a node of an ONNX file."""
    frames = [(m["file"], m["line"]) for m in _FRAME.finditer(trace)]
    own = [(f, n) for f, n in frames if f[:1] != "<" and not _is_no_source(Path(f))]
    return f"{_shown(Path(own[-1][0]))}:{own[-1][1]}" if own else ""


def _is_no_source(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _NO_SOURCE)


def _shown(path: Path) -> Path:
    """Relative to the working directory, where it lies in it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _attribute_path(name: str) -> str:
    """``L['self'].block.conv`` and ``block.conv`` are the same module."""
    return re.sub(r"^L\['self'\]\.?", "", name)


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    if isinstance(value, (tuple, list)) and value:
        value = value[0]
    return tuple(int(n) for n in getattr(value, "shape", ()))
