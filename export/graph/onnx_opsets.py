"""An ONNX file at another opset, also where ONNX's converter has no adapter for an operator.

Many versions of an operator differ in the types that they take alone: Relu 14 knows bfloat16, and
the converter has no way back to 13. Such a node is the same at both opsets. It is put into a domain
that the converter passes over, and taken out again. An operator that an earlier opset does not
have, as Gelu before 20, is written out by the definition that ONNX gives of it.
"""

from __future__ import annotations

import re

import onnx_ir as ir
from onnx import ModelProto, NodeProto, defs, inliner, shape_inference, version_converter
from onnxscript.optimizer import fold_constants

_NO_ADAPTER = re.compile(r"No Adapter (?:From|To) Version \$?\d+ for (\w+)")
_NO_SUCH = re.compile(r"No Previous Version of (\w+) exists")
_KEPT = "edgeark.kept"
_OWN = ("", "ai.onnx")


def convert_version(proto: ModelProto, present: int, opset: int) -> ModelProto:
    """A copy at another opset of ONNX's own operators; whoever asks proves that it is equal.

    Args:
        proto: a network without subgraphs that need a conversion.
        present: its opset.
        opset: the one that is wanted.

    Raises:
        Exception: as the converter raises it: there is no way there.
    """
    way = 1 if opset > present else -1
    for version in range(present, opset, way):
        proto = _step(proto, version, version + way)
    return proto


def _step(proto: ModelProto, present: int, opset: int) -> ModelProto:
    """To the next opset; operators of which the converter knows no way go as they are."""
    kept: set[str] = set()
    written_out: set[str] = set()
    while True:
        hidden = _hide(proto, kept)
        try:
            converted = version_converter.convert_version(hidden, opset)
        except Exception as error:
            absent = _NO_SUCH.search(str(error))
            if absent is not None and absent[1] not in written_out:
                written_out.add(absent[1])
                proto = _write_out(proto, absent[1])
                continue
            lacking = _NO_ADAPTER.search(str(error))
            if lacking is None or lacking[1] in kept:
                raise
            nodes = [node for node in proto.graph.node if _is_own(node, lacking[1])]
            if not all(_reads_alike(node, present, opset) for node in nodes):
                raise
            kept.add(lacking[1])
        else:
            return _show(converted, opset)


def _write_out(proto: ModelProto, op_type: str) -> ModelProto:
    """A copy with ONNX's own definition in the operator's place, its constants computed."""
    functions = [("", op_type)]
    written = inliner.inline_selected_functions(proto, functions, inline_schema_functions=True)
    model = ir.serde.deserialize_model(shape_inference.infer_shapes(written))
    fold_constants(model)
    for node in model.graph:
        if node.op_type == "Sum" and len(node.inputs) == 2:
            node.op_type = "Add"  # which more converters know
    return ir.serde.serialize_model(model)


def _is_own(node: NodeProto, op_type: str) -> bool:
    return node.op_type == op_type and node.domain in _OWN


def _hide(proto: ModelProto, kept: set[str]) -> ModelProto:
    """A copy in which operators of these kinds are of another domain."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    for node in copy.graph.node:
        if node.op_type in kept and node.domain in _OWN:
            node.domain = _KEPT
    if kept:
        copy.opset_import.add(domain=_KEPT, version=1)
    return copy


def _show(proto: ModelProto, opset: int) -> ModelProto:
    """Back in their domain, without attributes that the opset lacks."""
    for node in proto.graph.node:
        if node.domain == _KEPT:
            node.domain = ""
        if node.domain in _OWN:
            known = defs.get_schema(node.op_type, opset).attributes
            attributes = [each for each in node.attribute if each.name in known]
            if len(attributes) < len(node.attribute):
                del node.attribute[:]
                node.attribute.extend(attributes)
    imports = [each for each in proto.opset_import if each.domain != _KEPT]
    del proto.opset_import[:]
    proto.opset_import.extend(imports)
    return proto


def _reads_alike(node: NodeProto, present: int, opset: int) -> bool:
    """Whether the node's inputs and attributes have the same names and defaults at both opsets.

    An attribute that the wanted opset lacks is left out: whether it mattered, the proof shows.
    """
    here, there = (defs.get_schema(node.op_type, version) for version in (present, opset))
    for name, attribute in there.attributes.items():
        known = here.attributes.get(name)
        if known is None and attribute.required:
            return False
        if known is not None and (
            (known.type, known.default_value) != (attribute.type, attribute.default_value)
        ):
            return False
    count = len(node.input)
    inputs = [[(each.name, each.option) for each in schema.inputs] for schema in (here, there)]
    return inputs[0][:count] == inputs[1][:count] and len(node.output) <= len(there.outputs)
