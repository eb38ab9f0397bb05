"""What the tests of the KPU share: published files where they lie, and kmodels built by hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from edgeark.export.kpu import Activation, BatchNorm, Kmodel, KpuConv, Output, Pool
from edgeark.export.kpu import elementwise as e
from edgeark.export.kpu import maps as m

PUBLISHED = ("hand_detect", "landmark68", "lp_detect", "voc20_detect", "yolo_face_detect")
RELU = Activation.of([(0, 1 << 10, 10, 0)])


def published_file(name: str) -> Path:
    """A real kmodel v3; it may not be there."""
    default = Path(__file__).resolve().parents[3] / "shared" / "conformance"
    folder = Path(os.environ.get("EDGEARK_CONFORMANCE") or default)
    return folder / "kmodel_v3" / f"{name}.kmodel"


def batch_norm(rng: np.random.Generator, channels: int) -> BatchNorm:
    """Scales that leave a good part of the bytes within 0..255."""
    return BatchNorm(
        rng.integers(1 << 5, 1 << 7, channels),
        rng.integers(14, 16, channels),
        rng.integers(0, 200, channels),
    )


def conv(rng: np.random.Generator, shape: tuple[int, ...], **fields: object) -> KpuConv:
    """A convolution with random weights and the zero points of a real one."""
    zero_x, zero_w, taps = 7, 120, shape[2] * shape[3]
    values: dict[str, object] = {
        "weights": rng.integers(0, 256, shape, dtype=np.uint8),
        "bn": batch_norm(rng, shape[0]),
        "activation": RELU,
        "pad_value": zero_x,
        "arg_x": -zero_w << 15,
        "shr_x": 15,
        "arg_w": -zero_x,
        "arg_add": taps * zero_x * zero_w,
        **fields,
    }
    return KpuConv(**values)  # type: ignore[arg-type]


def digit_net(seed: int = 0) -> Kmodel:
    """Three convolutions and the tail of a vendor's classifier; input [1, 16, 16], 4 classes."""
    rng = np.random.default_rng(seed)
    floats = np.float32
    return Kmodel(
        layers=(
            conv(
                *(rng, (5, 1, 3, 3)),
                **{"src_row": 0, "dst_row": 100, "height": 16, "width": 16, "pool": Pool.MAX_2},
            ),
            conv(
                *(rng, (5, 1, 3, 3)),
                **{"src_row": 100, "dst_row": 0, "height": 8, "width": 8, "depthwise": True},
            ),
            conv(
                *(rng, (6, 5, 1, 1)),
                **{"src_row": 0, "dst_row": 100, "height": 8, "width": 8},
                **{"pool": Pool.LEFT_TOP_2, "main_out": 0},
            ),
            e.Dequantize(input=0, output=96, count=96, scale=0.05, bias=-1.0),
            m.GlobalAveragePool(input=96, output=0, kernel_size=16, channels=6),
            e.Quantize(input=0, output=32, count=6, scale=0.02, bias=-1.0),
            m.AddPadding(input=32, kpu_row=0, channels=6),
            conv(
                *(rng, (7, 6, 1, 1)),
                **{"src_row": 0, "dst_row": 100, "height": 4, "width": 4, "main_out": 0},
            ),
            m.RemovePadding(input=0, output=120, channels=7),
            e.Dequantize(input=120, output=128, count=7, scale=0.1, bias=-2.0),
            m.FullyConnected(
                **{"input": 128, "output": 160, "in_channels": 7, "out_channels": 4},
                activation=0,
                weights=rng.normal(size=(4, 7)).astype(floats),
                bias=rng.normal(size=4).astype(floats),
            ),
            e.Softmax(input=160, output=160, count=4),
        ),
        outputs=(Output(160, 16),),
        main_bytes=96 + 96 * 4,
    )


def operator_net(seed: int = 0) -> Kmodel:
    """Every other layer at least once; input [2, 8, 40]."""
    rng = np.random.default_rng(seed)
    size = 2 * 8 * 40
    byte = {"in_channels": 2, "in_height": 8, "in_width": 40}
    half = {"out_channels": 2, "out_height": 4, "out_width": 20}
    window = {"kernel_width": 3, "kernel_height": 3, "stride_width": 2, "stride_height": 2}
    pad = {"pad_width": 1, "pad_height": 1}
    floats = 4000  # float tensors begin here
    return Kmodel(
        layers=(
            conv(
                *(rng, (2, 2, 1, 1)),
                **{"src_row": 0, "dst_row": 50, "height": 8, "width": 40, "main_out": 0},
            ),
            m.QuantizedMaxPool(input=0, output=640, **byte, **half, **window, **pad),
            m.QuantizedResizeNearest(
                **{"input": 640, "output": 800, "width": 20, "height": 4, "channels": 2},
                **{"out_width": 40, "out_height": 8},
            ),
            e.Requantize(
                input=800, output=800, count=size, table=rng.permutation(256).astype(np.uint8)
            ),
            e.QuantizedAdd(
                **{"input_a": 0, "input_b": 800, "output": 1440, "count": size},
                **{"a_offset": -3, "a_mul": 1 << 10, "a_shift": 10},
                **{"b_offset": -9, "b_mul": 1 << 9, "b_shift": 10},
                **{"out_offset": 4, "out_mul": 3, "out_shift": 2},
            ),
            m.QuantizedConcat(
                output=2080, input_count=2, ranges=np.array([[1440, size], [800, size]], np.uint32)
            ),
            m.Upload(input=2080, kpu_row=0, width=40, height=8, channels=4),
            conv(
                *(rng, (4, 1, 3, 3)),
                **{"src_row": 0, "dst_row": 50, "height": 8, "width": 40, "depthwise": True},
                main_out=0,
            ),
            e.ChannelwiseDequantize(
                **{"input": 0, "output": floats, "channels": 4, "channel_size": 320},
                scales=rng.random((4, 2)).astype(np.float32),
            ),
            m.AveragePool(
                **{"input": floats, "output": 10000, **byte, **half, **window, **pad},
            ),
            m.ResizeNearest(
                **{"input": 10000, "output": 12000, "width": 20, "height": 4, "channels": 2},
                **{"out_width": 30, "out_height": 4},
            ),
            m.Concat(
                output=14000,
                input_count=2,
                ranges=np.array([[12000, 960], [12000, 960]], np.uint32),
            ),
            m.Flatten(input=14000, output=16000, width=30, height=4, channels=4),
            e.Add(input_a=14000, input_b=16000, output=14000, count=480),
            e.L2Normalize(input=14000, output=14000, count=480),
            e.Logistic(input=14000, output=14000, count=480),
        ),
        outputs=(Output(14000, 1920), Output(16000, 1920)),
        main_bytes=20000,
    )
