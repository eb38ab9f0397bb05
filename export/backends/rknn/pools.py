"""Max pools that rknn-toolkit2 computes wrongly, as cascades of small ones, which it does not.

Up to 2.5.0 at least, a pool of stride 1 whose kernel is larger than the map becomes the maximum of
the whole map, which is right only where every window covers all of it. The simulator shows it, the
toolkit's own ``accuracy_analysis`` does not. SPP and SPPF meet it at small images. A maximum of
maxima is a maximum, so that 3x3 pools in a row give the very same values; they are never misread.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, NodeProto, helper, shape_inference


def is_misread(kernel: Sequence[int], size: Sequence[int]) -> bool:
    """Whether a stride-1 pool over a map (height, width) becomes a wrong global one."""
    return any(k // 2 + 1 < n < k for k, n in zip(kernel, size, strict=True))


def is_splittable(kernel: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether 3x3 pools in a row are the same: odd kernel, padded by half of it on each side."""
    return all(k % 2 == 1 for k in kernel) and list(pads) == [k // 2 for k in kernel] * 2


def split_misread_pools(proto: ModelProto) -> ModelProto:
    """Rewrite a network in place, and return it.

    Args:
        proto: static, every tensor's shape noted.
    """
    graph = proto.graph
    sizes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim][2:]
        for value in (*graph.value_info, *graph.input)
    }
    nodes: list[NodeProto] = []
    for node in graph.node:
        kernel = _odd_kernel(node)
        if kernel and is_misread(kernel, sizes[node.input[0]]):
            nodes += _cascade(node, kernel)
        else:
            nodes.append(node)
    if len(nodes) == len(graph.node):
        return proto
    del graph.node[:]
    graph.node.extend(nodes)
    return shape_inference.infer_shapes(proto)


def _odd_kernel(node: NodeProto) -> list[int] | None:
    """Of a max pool that can be split; None of any other node."""
    if node.op_type != "MaxPool" or len(node.output) > 1:
        return None
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    ones = [*given.get("strides", ()), *given.get("dilations", ())]
    kernel, pads = list(given["kernel_shape"]), list(given.get("pads", ()))
    fits = len(kernel) == 2 and set(ones) <= {1} and is_splittable(kernel, pads)
    return kernel if fits else None


def _cascade(node: NodeProto, kernel: Sequence[int]) -> list[NodeProto]:
    count = max(kernel) // 2
    between = [f"{node.output[0]}_{index}" for index in range(1, count)]
    names = [node.input[0], *between, node.output[0]]
    pools = []
    for index in range(count):
        pads = [int(index < k // 2) for k in kernel]
        pools.append(
            helper.make_node(
                "MaxPool",
                [names[index]],
                [names[index + 1]],
                name=f"{node.name}_{index + 1}",
                kernel_shape=[1 + 2 * pad for pad in pads],
                pads=pads * 2,
                strides=[1, 1],
            )
        )
    return pools
