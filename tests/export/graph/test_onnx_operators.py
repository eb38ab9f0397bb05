"""Each ONNX operator as a function of torch answers as ONNX Runtime does, and can be captured."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from edgeark.export.graph.onnx_equality import make_noise
from edgeark.export.graph.onnx_module import OnnxModule, check_onnx_module
from edgeark.export.graph.onnx_operators import OPERATORS
from onnx import TensorProto
from support.onnx_cases import (
    MAP,
    Case,
    byte,
    floats,
    ints,
    make_model,
    number,
    of,
    positive,
    real,
)
from support.onnx_layer_cases import LAYERS

PLAIN = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "HardSwish",
    "Mish",
    "Abs",
    "Neg",
    "Exp",
    "Floor",
    "Ceil",
    "Round",
    "Sign",
    "Erf",
    "Sin",
    "Cos",
    "Tan",
    "Atan",
    "Sinh",
    "Asinh",
    "Identity",
    "LeakyRelu",
    "Elu",
    "Celu",
    "Selu",
    "ThresholdedRelu",
    "HardSigmoid",
    "Shrink",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GlobalLpPool",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Softmax",
    "LogSoftmax",
    "Hardmax",
    "Flatten",
    "Transpose",
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceSumSquare",
    "ArgMax",
    "ArgMin",
    "Dropout",
]

ACTIVATIONS = [
    *(of(name, MAP) for name in PLAIN),
    *(of(name, (2, 3, 4), opset=11, axis=1) for name in ("Softmax", "LogSoftmax", "Hardmax")),
    of("Softmax", (2, 3, 4), opset=13, axis=1),
    *(of(name, positive(3, 4) * 0.3, (3, 4)) for name in ("Add", "Pow")),
    of("Gelu", MAP, opset=20),
    of("Gelu", MAP, opset=20, approximate="tanh"),
    Case("Gelu", [MAP], domain="com.microsoft"),
    Case("QuickGelu", [MAP], domain="com.microsoft"),
    Case("BiasGelu", [MAP, real(10)], domain="com.microsoft"),
    Case("FastGelu", [MAP, real(10)], domain="com.microsoft"),
    of("PRelu", MAP, real(4, 1, 1)),
    of("PRelu", MAP, real(1)),
    of("PRelu", MAP, real(9, 10)),
    of("HardSigmoid", MAP, alpha=1 / 6),
    of("Clip", MAP, opset=7, min=0.0, max=6.0),
    of("Clip", MAP, number(-0.5), number(0.5)),
    of("Clip", MAP, None, number(0.25)),
    of("Clip", MAP),
    of("Selu", MAP, alpha=1.5, gamma=1.1),
    of("Shrink", MAP, bias=0.2, lambd=0.6),
]

ARITHMETIC = [
    *(of(name, (2, 1, 4), (3, 4)) for name in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum")),
    *(of(name, (3, 4), number(0.3)) for name in ("Add", "Sub", "Mul", "Div", "Max")),
    *(of(name, number(0.3), (3, 4)) for name in ("Add", "Sub", "Mul", "Div")),
    of("Add", (4,), real(1, 1)),
    of("Mean", (3, 4), (3, 4), (4,)),
    of("Pow", (3, 4), number(2)),
    *(of(n, (3, 4), (3, 4)) for n in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")),
    of("Greater", (3, 4), number(0.1)),
    of("Mod", (3, 4), number(0.7), fmod=1),
    *(
        Case(n, [(3, 4), ints(3)], types={0: TensorProto.INT64})
        for n in ("Mod", "Div", "Add", "Mul")
    ),
    *(
        Case(n, [(3, 4), (3, 4)], types={0: TensorProto.BOOL, 1: TensorProto.BOOL})
        for n in ("And", "Or", "Xor")
    ),
    Case("Not", [(3, 4)], types={0: TensorProto.BOOL}),
    Case("Where", [(3, 4), (3, 4), number(-1)], types={0: TensorProto.BOOL}),
    of("Cast", (3, 4), to=TensorProto.INT32),
    of("Cast", (3, 4), to=TensorProto.BOOL),
    of("CastLike", (3, 4), ints(1)),
    of("IsNaN", (3, 4)),
    of("IsInf", (3, 4)),
    of("CumSum", (3, 4), np.array(1)),
    of("CumSum", (3, 4), np.array(-1), exclusive=1, reverse=1),
    Case("BitShift", [(3,), byte(1, 2, 3)], {"direction": "LEFT"}, types={0: TensorProto.UINT8}),
    *(of(n, (3, 4)) for n in ("Log", "Sqrt", "Reciprocal")),
]

SHAPES = [
    of("Reshape", MAP, ints(0, -1)),
    of("Flatten", MAP, axis=2),
    of("Flatten", MAP, axis=0),
    of("Flatten", MAP, axis=-1),
    of("Transpose", MAP, perm=[0, 2, 3, 1]),
    of("Squeeze", (1, 3, 1, 4), opset=11),
    of("Squeeze", (1, 3, 1, 4), opset=11, axes=[2]),
    of("Squeeze", (1, 3, 1, 4), ints(0, -2)),
    of("Unsqueeze", (3, 4), opset=11, axes=[0, 3]),
    of("Unsqueeze", (3, 4), ints(-1, 0)),
    of("Concat", (1, 2, 3), (1, 4, 3), real(1, 1, 3), axis=1),
    of("Split", (2, 6), opset=11, outputs=2, axis=1, split=[2, 4]),
    of("Split", (2, 6), ints(1, 5), opset=13, outputs=2, axis=1),
    of("Split", (2, 6), opset=13, outputs=3, axis=1),
    of("Split", (2, 7), outputs=3, axis=1, num_outputs=3),
    of("Slice", (4, 9), opset=9, starts=[1, 2], ends=[3, -1]),
    of("Slice", (4, 9), ints(1), ints(2**62), ints(1), ints(2)),
    of("Slice", (4, 9), ints(-1), ints(-(2**62)), ints(-1), ints(-2)),
    of("Slice", (4, 9), ints(7, 0), ints(2, 4), ints(1, 0), ints(-3, 1)),
    of("Expand", (3, 1), ints(2, 1, 4)),
    of("Tile", (3, 2), ints(2, 3)),
    *(of("Pad", MAP, opset=10, pads=[0, 0, 1, 2, 0, 0, 2, 1], mode=m) for m in ("reflect", "edge")),
    *(
        of("Pad", MAP, ints(0, 0, 1, 2, 0, 0, 2, 1), mode=m)
        for m in ("constant", "reflect", "edge")
    ),
    of("Pad", MAP, ints(0, 1, 1, 2, 0, 1, 2, 1), mode="reflect"),
    of("Pad", MAP, ints(0, 1, -1, 2, 0, 1, -2, 1), number(0.5)),
    of("Pad", MAP, ints(1, 2), number(0.5), ints(2)),
    of("Pad", MAP, ints(2, 1), None, ints(-1), opset=19, mode="wrap"),
    *(of("DepthToSpace", (1, 8, 2, 3), blocksize=2, mode=m) for m in ("DCR", "CRD")),
    of("SpaceToDepth", (1, 3, 4, 6), blocksize=2),
    of("Trilu", (4, 5), np.array(1)),
    of("Trilu", (4, 5), upper=0),
    *(of("ReduceMean", MAP, opset=13, axes=[2, 3], keepdims=k) for k in (0, 1)),
    of("ReduceMean", MAP, ints(-1)),
    of("ReduceSum", MAP, ints(1, 2), keepdims=0),
    of("ReduceSum", MAP, noop_with_empty_axes=1),
    of("ReduceLogSum", (3, 4), ints(1)),
    Case("ReduceSum", [(3, 4)], types={0: TensorProto.INT32}),
    of("ArgMax", (3, 4), axis=1, keepdims=0, select_last_index=1),
    of("TopK", (3, 6), ints(2), outputs=2),
    of("TopK", (3, 6), ints(2), outputs=2, axis=0, largest=0),
    of("TopK", (3, 6), opset=9, outputs=2, k=3),
    of("Shape", MAP),
    of("Shape", MAP, start=1, end=-1),
    of("Size", MAP),
    of("ConstantOfShape", ints(2, 3)),
    of("Range", np.array(1), np.array(7), np.array(2)),
    of("EyeLike", (3, 4), k=1),
]

INDICES = [
    of("Gather", (3, 5), np.array(-1), axis=1),
    of("Gather", (3, 5), ints(0, -2), axis=1),
    of("Gather", (3, 5), np.array([[0, 1], [2, 0]]), axis=0),
    Case("Gather", [real(5, 4), (2, 3)], types={1: TensorProto.INT64}),
    Case("Gather", [(3, 5), (2,)], {"axis": 1}, types={1: TensorProto.INT32}),
    of("GatherElements", (3, 4), np.array([[0, -1], [1, 2]]), axis=1),
    Case("GatherElements", [(3, 4), (2, 4)], {"axis": 0}, types={1: TensorProto.INT64}),
    of("GatherND", (3, 4, 5), np.array([[0, 1], [2, -1]])),
    of("GatherND", (3, 4, 5), np.array([[1], [2], [0]]), batch_dims=1),
    *(
        of("ScatterND", (4, 3), np.array([[1], [-1]]), (2, 3), reduction=how)
        for how in ("none", "add", "mul", "max", "min")
    ),
    *(
        of("ScatterElements", (4, 3), np.array([[1, 0, 2]]), (1, 3), reduction=how, axis=0)
        for how in ("none", "add", "mul", "max", "min")
    ),
    Case("OneHot", [(2, 3), np.array(4), floats(0, 1)], types={0: TensorProto.INT64}),
    Case("OneHot", [(2, 3), np.array(4), floats(-1, 2)], {"axis": 1}, types={0: TensorProto.INT64}),
    of("NonZero", floats(0, 1, 2)),
    of("Compress", (3, 4), np.array([True, False, True]), axis=0),
]

CASES = [
    *ACTIVATIONS,
    *ARITHMETIC,
    *SHAPES,
    *INDICES,
    *LAYERS,
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_answers_as_onnx_runtime_does(case: Case) -> None:
    proto = make_model(case)
    check_onnx_module(proto, OnnxModule(proto), seed=1)


TRACED = {case.op_type: case for case in CASES if make_model(case).graph.input}


@pytest.mark.parametrize("op_type", sorted({*TRACED} - {"Shape", "Size", "EyeLike"}))
def test_an_operator_can_be_traced(op_type: str) -> None:
    proto = make_model(TRACED[op_type])
    module = OnnxModule(proto)
    examples, others = (
        tuple(torch.from_numpy(x) for x in make_noise(proto, seed).values()) for seed in (0, 1)
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own functions compare sizes
        traced = torch.jit.trace(module, examples, check_trace=False)
        torch.testing.assert_close(traced(*others), module(*others), equal_nan=True)


def test_every_operator_of_the_table_is_tried() -> None:
    rare = {"Asin", "Acos", "Cosh", "Acosh", "Atanh", "BitwiseNot", "BitwiseAnd", "BitwiseOr"}
    rare |= {"BitwiseXor", "Constant", "Scatter", "SimplifiedLayerNormalization", "Swish"}
    refused = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    rare |= refused | {"Bernoulli", "Multinomial"}
    tried = {(case.domain, case.op_type) for case in CASES}
    assert {op for op in OPERATORS if op not in tried and op[1] not in rare} == set()
