"""An ONNX file as a PyTorch module, for what reads PyTorch alone.

Each node becomes a submodule of its name that calls the function of torch which a person would
have written: ``F.conv2d``, ``F.linear``. Shapes are worked out while the file is read, on fake
tensors, so that what the file computes of them is constant in the module; nothing in it depends on
the values of its input. That is what ``torch.export`` and ``torch.jit.trace`` ask for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, inliner
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ...zoo.modes import evaluating
from .onnx_equality import check_equal, is_quantized, make_noise, run_onnx
from .onnx_operators import OPERATORS, OnnxError, OnnxNode, Operator
from .onnx_operators.registry import DTYPES, Function, to_tensor

OLDEST_OPSET = 7

_REFUSED = {
    "If": "take the branch that holds, or export the network by tracing",
    "Loop": "unroll it, or export the network by tracing",
    "Scan": "unroll it",
    "NonMaxSuppression": "end the network in front of it: the host does that on the boxes",
}


class OnnxOperator(nn.Module):
    """One node: a function, and the constants that go into it.

    Args:
        function: of the node's inputs in their order.
        slots: of each argument the attribute that holds it, None: it comes at run time.
    """

    def __init__(self, op_type: str, function: Function, slots: Sequence[str | None]) -> None:
        super().__init__()
        self.op_type = op_type
        self._function = function
        self._slots = tuple(slots)

    def forward(self, *inputs: Any) -> Any:
        rest = iter(inputs)
        given = (next(rest) if slot is None else getattr(self, slot) for slot in self._slots)
        return self._function(*given)

    def extra_repr(self) -> str:
        return self.op_type


@dataclass(frozen=True)
class _Step:
    """``freed``: the values that nothing reads afterwards."""

    module: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    freed: tuple[str, ...] = ()


class OnnxModule(nn.Module):
    """The network of an ONNX file, in evaluation mode.

    It takes the file's inputs in their order and gives its output, or a tuple of several. State
    dict keys are ``<node>.weight`` and the like.

    Args:
        proto: static: of every input each size is known.

    Attributes:
        input_names: in the order of ``forward``.
        input_shapes: by name.
        output_names: in the order of the result.

    Raises:
        OnnxError: an operator that torch has no function for, a size that is not known, sizes that
            depend on the input's values; the message names the node.
    """

    def __init__(self, proto: ModelProto) -> None:
        super().__init__()
        reader = _Reader(self, proto)
        self.input_names = tuple(reader.input_shapes)
        self.input_shapes = reader.input_shapes
        self.output_names = tuple(value.name for value in proto.graph.output)
        self._steps = _free(reader.steps, self.output_names)
        self._fixed = reader.keep_constant_outputs(self.output_names)
        self.eval()

    def forward(self, *inputs: Tensor) -> Any:
        values: dict[str, Any] = dict(zip(self.input_names, inputs, strict=True))
        for step in self._steps:
            module = self.get_submodule(step.module)
            result = module(*(values[name] for name in step.inputs))
            several = isinstance(result, (tuple, list))
            for name, value in zip(step.outputs, result if several else (result,), strict=False):
                values[name] = value
            for name in step.freed:
                del values[name]
        for name, slot in self._fixed.items():
            values[name] = getattr(self, slot)
        results = tuple(values[name] for name in self.output_names)
        return results[0] if len(results) == 1 else results


class _Reader:
    """Reads the nodes in their order; what is constant so far is computed at once."""

    def __init__(self, model: nn.Module, proto: ModelProto) -> None:
        if proto.functions:
            proto = inliner.inline_local_functions(proto)
        self._model = model
        self._opsets = {_domain(entry.domain): entry.version for entry in proto.opset_import}
        _refuse_unknown(proto.graph, self._opsets)
        self._fake = FakeTensorMode(allow_non_fake_inputs=True)
        self._names: Counter[str] = Counter()
        self._shared: dict[tuple[str, bool], Tensor] = {}
        self._constants = {t.name: to_tensor(t) for t in proto.graph.initializer}
        self._values: dict[str, Any] = {}
        self.steps: list[_Step] = []
        self.input_shapes: dict[str, tuple[int, ...]] = {}
        for value in proto.graph.input:
            if value.name not in self._constants:
                self._read_input(value)
        for node in proto.graph.node:
            self._read(node)
        for value in proto.graph.output:
            if value.name not in self._values and value.name not in self._constants:
                raise OnnxError(f"output {value.name}: no node computes it; the file is broken")

    def keep_constant_outputs(self, outputs: Sequence[str]) -> dict[str, str]:
        """By output that does not depend on the input, the buffer that holds it."""
        slots = {}
        for i, name in enumerate(outputs):
            if name in self._constants:
                slots[name] = f"output_{i}"
                self._model.register_buffer(slots[name], self._constants[name])
        return slots

    def _read_input(self, value: ValueInfoProto) -> None:
        kind = value.type.tensor_type
        if not value.type.HasField("tensor_type") or kind.elem_type not in DTYPES:
            raise OnnxError(f"input {value.name}: only tensors of numbers are supported")
        shape = tuple(d.dim_value for d in kind.shape.dim)
        if not kind.HasField("shape") or 0 in shape:
            raise OnnxError(
                f"input {value.name} has sizes that are not fixed; "
                f"fix them: --input-shape {value.name}=..."
            )
        self.input_shapes[value.name] = shape
        with self._fake:
            self._values[value.name] = torch.empty(shape, dtype=DTYPES[kind.elem_type])

    def _read(self, proto: NodeProto) -> None:
        name = proto.name or proto.op_type
        domain = _domain(proto.domain)
        row = OPERATORS[domain, proto.op_type]
        inputs = [self._value(each, name) for each in proto.input]
        known = [each in self._constants for each in proto.input]
        node = OnnxNode(proto, name, self._opsets[domain], inputs, known)
        try:
            function = row.build(node)
            self._enter(proto, node, row, function)
        except OnnxError as error:
            where = f"node {name} ({proto.op_type}): "
            text = str(error)
            raise error if text.startswith("node ") else OnnxError(where + text) from error
        except Exception as error:  # whatever a broken file makes of the builder's arithmetic
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise OnnxError(
                f"node {name} ({proto.op_type}): it cannot be computed with fixed sizes: {reason}"
            ) from error

    def _value(self, name: str, reader: str) -> Any:
        if not name:
            return None
        if name in self._constants:
            return self._constants[name]
        if name not in self._values:
            raise OnnxError(f"node {reader}: nothing computes its input {name}; the file is broken")
        return self._values[name]

    def _enter(self, proto: NodeProto, node: OnnxNode, row: Operator, function: Function) -> None:
        values = [node.value(i) for i in node.kept]
        values += [value for _, value in node.added]
        at_run_time = [i for i in node.kept if proto.input[i] in self._values]
        if not at_run_time:
            with torch.no_grad():
                self._constants |= self._outputs(proto, function(*values))
            return
        with self._fake, torch.no_grad():
            self._values |= self._outputs(proto, function(*values))
        slots: list[str | None] = []
        path = self._add_module(proto.op_type, node.name)
        module = OnnxOperator(proto.op_type, function, ())
        for i in node.kept:
            slots.append(None if i in at_run_time else self._hold(module, proto, node, row, i))
        for i, (name, value) in enumerate(node.added):
            slots.append(name or f"constant_{i}")
            _register(module, slots[-1] or "", value, as_parameter=bool(name))
        module._slots = tuple(slots)
        parent, _, last = path.rpartition(".")
        self._model.get_submodule(parent).register_module(last, module)
        inputs = tuple(proto.input[i] for i in at_run_time)
        self.steps.append(_Step(path, inputs, tuple(proto.output)))

    def _outputs(self, proto: NodeProto, result: Any) -> dict[str, Any]:
        several = result if isinstance(result, (tuple, list)) else (result,)
        if len(several) < len(proto.output) and any(proto.output[len(several) :]):
            raise OnnxError(f"output {len(several)} is not supported")
        return {name: v for name, v in zip(proto.output, several, strict=False) if name}

    def _hold(
        self, module: nn.Module, proto: NodeProto, node: OnnxNode, row: Operator, index: int
    ) -> str:
        """Put a constant into the module; one that several nodes read is one tensor."""
        named = row.parameters[index] if index < len(row.parameters) else ""
        slot, value, source = named or f"input_{index}", node.value(index), proto.input[index]
        if value is None:
            setattr(module, slot, None)
            return slot
        as_parameter = bool(named) and named not in row.buffers
        if index not in node.replaced:
            value = self._shared.setdefault((source, as_parameter), _as_held(value, as_parameter))
        _register(module, slot, value, as_parameter)
        return slot

    def _add_module(self, op_type: str, name: str) -> str:
        """A free path for the node: ``/layer1/conv/Conv`` is ``layer1.conv.Conv``.

        Modules on the way are made.
        """
        parts = [re.sub(r"\W", "_", part) for part in re.split(r"[/.]+", name)]
        parts = [part for part in parts if part] or [op_type]
        module = self._model
        path = []
        for part in parts[:-1]:
            free = _avoid_attributes(module, part)
            if free not in module._modules:
                module.register_module(free, nn.Module())
            path.append(free)
            module = module.get_submodule(free)
        last = _avoid_attributes(module, parts[-1])
        stem = ".".join([*path, last])
        while last in module._modules:
            self._names[stem] += 1
            last = _avoid_attributes(module, f"{parts[-1]}_{self._names[stem] + 1}")
        return ".".join([*path, last])


def _avoid_attributes(module: nn.Module, name: str) -> str:
    """A node may be called ``forward`` or ``weight``."""
    while name not in module._modules and hasattr(module, name):
        name += "_"
    return name


def _as_held(value: Tensor, as_parameter: bool) -> Tensor:
    is_trained = as_parameter and value.is_floating_point()
    return nn.Parameter(value) if is_trained and not isinstance(value, nn.Parameter) else value


def _register(module: nn.Module, slot: str, value: Tensor, as_parameter: bool) -> None:
    held = _as_held(value, as_parameter)
    if isinstance(held, nn.Parameter):
        module.register_parameter(slot, held)
    else:
        module.register_buffer(slot, held)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _refuse_unknown(graph: GraphProto, opsets: dict[str, int]) -> None:
    if graph.sparse_initializer:
        raise OnnxError("the file has sparse weights, which are not supported; export dense ones")
    if opsets.get("", OLDEST_OPSET) < OLDEST_OPSET:
        raise OnnxError(
            f"opset {opsets['']} is older than {OLDEST_OPSET}; export the network at opset 13 or "
            "later"
        )
    unknown = [n for n in graph.node if (_domain(n.domain), n.op_type) not in OPERATORS]
    if not unknown:
        return
    first = unknown[0]
    kind = f"{first.domain}:{first.op_type}" if _domain(first.domain) else first.op_type
    others = sorted({n.op_type for n in unknown} - {first.op_type})
    more = f" (nor have {', '.join(others)})" if others else ""
    hint = _REFUSED.get(first.op_type, "replace it, or give the network's PyTorch code")
    raise OnnxError(
        f"node {first.name or first.output[0]}: operator {kind} has no function of PyTorch{more}; "
        f"{hint}"
    )


def _free(steps: Sequence[_Step], outputs: Sequence[str]) -> list[_Step]:
    """With each step, what can go behind it."""
    needed = set(outputs)
    result = []
    for step in reversed(steps):
        read = {name for name in (*step.inputs, *step.outputs) if name}
        result.append(_Step(step.module, step.inputs, step.outputs, tuple(sorted(read - needed))))
        needed |= read
    return result[::-1]


def check_onnx_module(proto: ModelProto, module: OnnxModule, seed: int = 0) -> float:
    """Compare the module with ONNX Runtime on the file, on seeded noise.

    Returns:
        The largest error of an output, by its peak; of a quantized network, its root mean square.

    Raises:
        OnnxError: it is more than rounding; which output, and by how much.
    """
    feeds = make_noise(proto, seed)
    wanted = run_onnx(proto, feeds)
    with torch.no_grad(), evaluating(module):
        results = module(*(torch.from_numpy(feeds[name]) for name in module.input_names))
    several = results if isinstance(results, tuple) else (results,)
    got = {name: v.numpy() for name, v in zip(module.output_names, several, strict=True)}
    return check_equal(wanted, got, is_quantized(proto), "the PyTorch module made of the file")
