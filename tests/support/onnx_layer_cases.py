"""ONNX operators with windows, weights or states: a network's layers, each in several forms."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from support.onnx_cases import MAP, RNG, Case, byte, floats, ints, number, of, positive, real

CONVOLUTIONS = [
    of("Conv", MAP, real(6, 4, 3, 3), real(6), pads=[1, 1, 1, 1]),
    of("Conv", MAP, real(6, 4, 3, 3), pads=[0, 1, 2, 1], strides=[2, 2]),
    of("Conv", MAP, real(4, 1, 3, 3), group=4, dilations=[2, 2]),
    of("Conv", MAP, (6, 4, 1, 1)),
    *(
        of("Conv", MAP, real(6, 4, 3, 2), auto_pad=mode, strides=[2, 3])
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    of("Conv", (1, 4, 9), real(6, 4, 3)),
    of("Conv", (1, 2, 5, 6, 7), real(3, 2, 3, 3, 3)),
    of("ConvTranspose", MAP, real(4, 3, 3, 3), real(3), strides=[2, 2]),
    of("ConvTranspose", MAP, real(4, 3, 4, 4), strides=[2, 2], pads=[1, 1, 1, 1]),
    of("ConvTranspose", MAP, real(4, 3, 3, 3), strides=[2, 2], pads=[0, 1, 2, 0]),
    of("ConvTranspose", MAP, real(4, 3, 3, 3), strides=[2, 2], output_padding=[1, 1]),
    of(
        "ConvTranspose",
        MAP,
        real(4, 3, 3, 3),
        strides=[2, 2],
        pads=[1, 0, 2, 2],
        output_padding=[1, 1],
    ),
    of("ConvTranspose", MAP, real(4, 3, 3, 3), strides=[2, 2], output_shape=[18, 20]),
    *(
        of("ConvTranspose", MAP, real(4, 2, 3, 3), strides=[2, 2], auto_pad=mode, group=2)
        for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
]

POOLS = [
    *(
        of(name, MAP, kernel_shape=[3, 3], strides=[2, 2], **more)
        for name in ("MaxPool", "AveragePool")
        for more in (
            {},
            {"pads": [1, 1, 1, 1]},
            {"pads": [0, 1, 1, 0]},
            {"ceil_mode": 1},
            {"ceil_mode": 1, "pads": [1, 1, 1, 1]},
            {"ceil_mode": 1, "pads": [0, 0, 1, 1]},
            {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"},
            {"auto_pad": "VALID"},
        )
    ),
    of("MaxPool", MAP, kernel_shape=[3, 3], dilations=[2, 2]),
    of("MaxPool", (1, 4, 9), kernel_shape=[3], strides=[2]),
    of("AveragePool", MAP, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    of("AveragePool", MAP, kernel_shape=[3, 3], pads=[0, 0, 1, 1], count_include_pad=1),
    of("AveragePool", MAP, kernel_shape=[3, 3], pads=[2, 2, 2, 2]),
    of("AveragePool", MAP, opset=19, kernel_shape=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]),
    of("LpPool", MAP, kernel_shape=[2, 2], strides=[2, 2]),
    of("LRN", (1, 7, 3, 3), size=3, alpha=0.5),
]

NORMS = [
    of("BatchNormalization", MAP, real(4), real(4), real(4), positive(4), opset=9),
    of("BatchNormalization", MAP, real(4), real(4), real(4), positive(4), opset=15),
    of("InstanceNormalization", MAP, real(4), real(4)),
    of("LayerNormalization", (2, 3, 8), real(8), real(8)),
    of("LayerNormalization", (2, 3, 8), real(3, 8), axis=1),
    of("GroupNormalization", (2, 4, 6), real(4), real(4), opset=21, num_groups=2),
    of("RMSNormalization", (2, 3, 8), real(8), opset=23),
    of("LpNormalization", (3, 4), p=1, axis=0),
]

PRODUCTS = [
    of("MatMul", (2, 3, 4), real(4, 5)),
    of("MatMul", (2, 3, 4), (2, 4, 5)),
    of("Gemm", (3, 4), real(5, 4), real(5), transB=1),
    of("Gemm", (3, 4), real(4, 5), real(1, 5), alpha=0.5, beta=2.0),
    of("Gemm", (3, 4), real(4, 5), real(1)),
    of("Gemm", (3, 4), real(4, 5), real(3, 1)),
    of("Gemm", (4, 3), (4, 5), (3, 5), transA=1, alpha=0.5),
    of("Einsum", (2, 3, 4), (2, 4, 5), equation="bij, bjk -> bik"),
]

NEAREST = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
RESIZES = [
    of("Upsample", MAP, opset=7, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest"),
    *(of("Upsample", MAP, floats(1, 1, 2, 2), opset=9, mode=m) for m in ("nearest", "linear")),
    *(of("Resize", MAP, floats(1, 1, 2, 3), opset=10, mode=m) for m in ("nearest", "linear")),
    *(
        of(
            "Resize",
            MAP,
            None,
            None,
            ints(1, 4, *size),
            opset=13,
            mode="nearest",
            nearest_mode=rounding,
            coordinate_transformation_mode=where,
        )
        for rounding in NEAREST
        for where in COORDINATES
        for size in ((18, 15), (5, 7))
    ),
    *(
        of(
            "Resize",
            MAP,
            None,
            None,
            ints(1, 4, *size),
            mode=mode,
            coordinate_transformation_mode=where,
        )
        for mode in ("linear", "cubic")
        for where in COORDINATES
        for size in ((18, 15), (5, 7))
    ),
    of("Resize", MAP, None, floats(1, 1, 1.7, 0.6), mode="linear"),
    of("Resize", MAP, None, floats(2, 1.5), axes=[2, 3], mode="linear"),
    of("Resize", MAP, None, floats(1, 2, 1, 1), mode="nearest"),
    of("Resize", MAP, None, floats(1, 1, 2, 2), mode="cubic", cubic_coeff_a=-0.5),
    of("Resize", MAP, None, floats(1, 1, 2, 2), mode="cubic", exclude_outside=1),
    of("Resize", (1, 2, 7), None, floats(1, 1, 2), mode="linear"),
    *(
        of("GridSample", MAP, (1, 5, 6, 2), mode=mode, padding_mode=padding, align_corners=align)
        for mode, align in (("bilinear", 0), ("bilinear", 1), ("nearest", 0), ("bicubic", 1))
        for padding in ("zeros", "border", "reflection")
    ),
    of("AffineGrid", (1, 2, 3), ints(1, 2, 5, 6), opset=20),
]

RECURRENT = [
    *(
        of(
            name,
            (5, 2, 3),
            real(d, gates * 4, 3) * 0.3,
            real(d, gates * 4, 4) * 0.3,
            real(d, 2 * gates * 4),
            outputs=outputs,
            hidden_size=4,
            direction=direction,
            **more,
        )
        for name, gates, outputs, more in (
            ("LSTM", 4, 3, {}),
            ("GRU", 3, 2, {"linear_before_reset": 1}),
            ("GRU", 3, 2, {}),
            ("RNN", 1, 2, {}),
        )
        for direction, d in (("forward", 1), ("reverse", 1), ("bidirectional", 2))
    ),
    of(
        "LSTM",
        (5, 2, 3),
        real(1, 16, 3),
        real(1, 16, 4),
        None,
        None,
        (1, 2, 4),
        (1, 2, 4),
        outputs=3,
        hidden_size=4,
    ),
    of("GRU", (5, 2, 3), real(1, 12, 3), real(1, 12, 4), None, None, (1, 2, 4), hidden_size=4),
]

QUANTIZED = [
    of("QuantizeLinear", MAP, number(0.03), byte(120)),
    of("QuantizeLinear", MAP, positive(4) * 0.05, np.zeros(4, np.int8), axis=1),
    Case("DequantizeLinear", [MAP, number(0.03), byte(120)], types={0: TensorProto.UINT8}),
    Case(
        "DequantizeLinear",
        [MAP, positive(4), np.zeros(4, np.int8)],
        {"axis": 1},
        types={0: TensorProto.INT8},
    ),
    of("DynamicQuantizeLinear", MAP, outputs=3),
    Case(
        "QLinearConv",
        [
            MAP,
            number(0.02),
            byte(128),
            RNG.integers(-63, 64, (6, 4, 3, 3)).astype(np.int8),
            positive(6) * 0.01,
            np.zeros(6, np.int8),
            number(0.3),
            byte(128),
            RNG.integers(-900, 900, 6).astype(np.int32),
        ],
        {"pads": [1, 1, 1, 1]},
        types={0: TensorProto.UINT8},
    ),
    Case(
        "ConvInteger",
        [MAP, RNG.integers(0, 255, (6, 4, 3, 3)).astype(np.uint8), byte(128), byte(127)],
        types={0: TensorProto.UINT8},
    ),
    Case(
        "MatMulInteger",
        [(3, 8), RNG.integers(0, 255, (8, 4)).astype(np.uint8), byte(128), byte(127)],
        types={0: TensorProto.UINT8},
    ),
    Case(
        "QLinearMatMul",
        [
            (3, 8),
            number(0.02),
            byte(128),
            RNG.integers(0, 255, (8, 4)).astype(np.uint8),
            number(0.01),
            byte(127),
            number(0.1),
            byte(128),
        ],
        types={0: TensorProto.UINT8},
    ),
]

ATTENTION = [
    of("Attention", (1, 2, 5, 8), (1, 2, 6, 8), (1, 2, 6, 8), opset=23),
    of("Attention", (1, 2, 5, 8), (1, 2, 6, 8), (1, 2, 6, 8), (5, 6), opset=23, scale=0.2),
]

LAYERS = [
    *CONVOLUTIONS,
    *POOLS,
    *NORMS,
    *PRODUCTS,
    *RESIZES,
    *RECURRENT,
    *QUANTIZED,
    *ATTENTION,
]
