"""Max pools that rknn-toolkit2 computes wrongly, as cascades of small ones, which it does not.

Up to 2.5.0 at least, a pool of stride 1 whose kernel is larger than the map becomes the maximum of
the whole map, which is right only where every window covers all of it. The simulator shows it, the
toolkit's own ``accuracy_analysis`` does not. SPP and SPPF meet it at small images. A maximum of
maxima is a maximum, so that 3x3 pools in a row give the very same values; they are never misread.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ...graph.onnx_passes import onnx_pass, replace_node, static_shape


def is_misread(kernel: Sequence[int], size: Sequence[int]) -> bool:
    """Whether a stride-1 pool over a map (height, width) becomes a wrong global one."""
    return any(k // 2 + 1 < n < k for k, n in zip(kernel, size, strict=True))


def is_splittable(kernel: Sequence[int], pads: Sequence[int]) -> bool:
    """Whether 3x3 pools in a row are the same: odd kernel, padded by half of it on each side."""
    return all(k % 2 == 1 for k in kernel) and list(pads) == [k // 2 for k in kernel] * 2


@onnx_pass
def split_misread_pools(model: ir.Model) -> None:
    """A copy in which each is a cascade.

    Args:
        model: static, every tensor's shape noted.
    """
    for node in list(model.graph):
        kernel, shape = _odd_kernel(node), static_shape(node.inputs[0]) if node.inputs else None
        if kernel and shape and is_misread(kernel, shape[2:]):
            _split(node, kernel)


def _odd_kernel(node: ir.Node) -> list[int] | None:
    """Of a max pool that can be split; None of any other node."""
    if node.op_type != "MaxPool" or len(node.outputs) > 1:
        return None
    given = node.attributes
    ones = {*given.get_ints("strides", []), *given.get_ints("dilations", [])}
    kernel = list(given.get_ints("kernel_shape", []))
    fits = len(kernel) == 2 and ones <= {1} and is_splittable(kernel, given.get_ints("pads", []))
    return kernel if fits else None


def _split(node: ir.Node, kernel: Sequence[int]) -> None:
    tape, value = ir.tape.Tape(), node.inputs[0]
    for index in range(max(kernel) // 2):
        pads = [int(index < k // 2) for k in kernel]
        given = {"kernel_shape": [1 + 2 * p for p in pads], "pads": pads * 2, "strides": [1, 1]}
        value = tape.op("MaxPool", [value], given, name=f"{node.name}_{index + 1}")
    assert value is not None
    replace_node(node, tape.nodes, [value])
