"""Max pools as cascades: the very same values, and no pool left that the toolkit misreads."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from edgeark.export.backends.rknn.pools import is_misread, split_misread_pools
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, shape_inference

KERNELS = st.integers(1, 14)
SIZES = st.integers(1, 14)


def pool_net(kernel: tuple[int, int], size: tuple[int, int]) -> onnx.ModelProto:
    """A pool between two layers, padded by half of its kernel."""
    pads = [k // 2 for k in kernel] * 2
    out = [1, 2, *(n + 1 - k % 2 for n, k in zip(size, kernel, strict=True))]
    nodes = [
        helper.make_node("Neg", ["input"], ["a"]),
        helper.make_node(
            "MaxPool", ["a"], ["b"], "p/MaxPool", kernel_shape=kernel, pads=pads, strides=[1, 1]
        ),
        helper.make_node("Neg", ["b"], ["output"]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("input", [1, 2, *size]), ("output", out))
    ]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return shape_inference.infer_shapes(model)


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"input": x})[0])


@settings(max_examples=60)
@given(st.tuples(KERNELS, KERNELS), st.tuples(SIZES, SIZES), st.integers(0, 2**32 - 1))
@example((5, 5), (4, 4), 0)
@example((13, 13), (8, 12), 0)
@example((13, 3), (12, 1), 0)
@example((6, 6), (5, 5), 0)
def test_a_cascade_has_the_same_values(
    kernel: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    x = np.random.default_rng(seed).standard_normal((1, 2, *size)).astype(np.float32)
    before = pool_net(kernel, size)
    after = split_misread_pools(onnx.ModelProto.FromString(before.SerializeToString()))
    onnx.checker.check_model(after, full_check=True)
    np.testing.assert_array_equal(run(after, x), run(before, x))
    kernels = [
        list(helper.get_attribute_value(node.attribute[0]))
        for node in after.graph.node
        if node.op_type == "MaxPool"
    ]
    if is_misread(kernel, size) and kernel[0] % 2 and kernel[1] % 2:
        assert not any(is_misread(small, size) for small in kernels)
        assert len(kernels) == max(kernel) // 2
    else:
        assert kernels == [list(kernel)]
