"""How fast the K210 simulator is on one core: ``python benchmarks/kpu_simulator.py [FILE ...]``.

Networks of the zoo's shapes with random weights, and the kmodels named. Images are noise, handed
over together; prints the median of five runs in CPU time, which a busy machine changes little.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"  # before NumPy loads

import numpy as np
from edgeark.export.kpu import (
    Activation,
    BatchNorm,
    Kmodel,
    KpuConv,
    Output,
    Pool,
    Simulator,
    describe,
    read_kmodel,
)
from edgeark.export.kpu.elementwise import Dequantize
from edgeark.export.kpu.layer import KPU_ROWS, KpuTensor
from edgeark.export.kpu.maps import GlobalAveragePool

RELU6 = Activation.of([(0, 1 << 10, 10, 0), (250, 0, 0, 250)])
Step = tuple[int, int, bool, Pool]  # output channels, kernel, depthwise, pool


def network(channels: int, side: int, steps: list[Step]) -> Kmodel:
    """Convolutions one after another, then a global pool; tensors lie at either end of KPU RAM."""
    rng, layers, at_top = np.random.default_rng(0), [], False
    for index, (out, kernel, depthwise, pool) in enumerate(steps):
        to = side // pool.stride
        ends = [
            KPU_ROWS - KpuTensor(0, shape).rows for shape in ((channels, side, side), (out, to, to))
        ]
        weights = rng.integers(0, 256, (out, 1 if depthwise else channels, kernel, kernel), "u1")
        spread = 30 / np.sqrt(weights[0].size)  # keeps the bytes in the middle of their range
        layers.append(
            KpuConv(
                src_row=ends[0] if at_top else 0,
                dst_row=0 if at_top else ends[1],
                height=side,
                width=side,
                weights=weights,
                bn=BatchNorm(
                    np.full(out, int(spread * 32)), np.full(out, 15), rng.integers(50, 100, out)
                ),
                activation=RELU6,
                depthwise=depthwise,
                pool=pool,
                arg_x=-128,
                main_out=0 if index == len(steps) - 1 else None,
            )
        )
        channels, side, at_top = out, to, not at_top
    count = channels * side * side
    floats = -(-count // 8) * 8
    pooled = floats + 4 * count
    tail = (
        Dequantize(input=0, output=floats, count=count, scale=0.1, bias=0.0),
        GlobalAveragePool(input=floats, output=pooled, kernel_size=side * side, channels=channels),
    )
    return Kmodel((*layers, *tail), (Output(pooled, 4 * channels),), pooled + 4 * channels)


def mnist_kpu() -> Kmodel:
    """The shapes of the zoo's ``mnist_kpu``."""
    none, pool = Pool.NONE, Pool.MAX_2
    plan = [(16, none), (16, pool), (32, none), (32, pool), (64, none), (64, none)]
    return network(1, 28, [(c, 3, False, p) for c, p in plan] + [(10, 1, False, none)])


def mobilenet_v1_025() -> Kmodel:
    """The shapes of the zoo's ``mobilenet_v1_025``; a 1x1 does the stride of the layer before."""
    steps: list[Step] = [(8, 3, False, Pool.LEFT_TOP_2)]
    channels = 8
    plan = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *[(128, 1)] * 5, (256, 2)]
    for out, stride in [*plan, (256, 1)]:
        pick = Pool.LEFT_TOP_2 if stride == 2 else Pool.NONE
        steps += [(channels, 3, True, Pool.NONE), (out, 1, False, pick)]
        channels = out
    return network(3, 224, [*steps, (1000, 1, False, Pool.NONE)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args().files
    kmodels = {"mnist_kpu": mnist_kpu(), "mobilenet_v1_025": mobilenet_v1_025()}
    kmodels |= {path.name: read_kmodel(path.read_bytes()) for path in files}
    sys.stdout.write("| kmodel | input | MMAC | images | ms an image | images/s |\n")
    sys.stdout.write("|---|---|--:|--:|--:|--:|\n")
    for name, kmodel in kmodels.items():
        simulator = Simulator(kmodel)
        count = 4 * simulator.batch
        shape = (count, *simulator.input.shape)
        images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        seconds = []
        for _ in range(6):
            start = time.process_time()
            simulator.run(images)
            seconds.append(time.process_time() - start)
        each = statistics.median(seconds[1:]) / count  # the first run prepares the weights
        size = "x".join(map(str, simulator.input.shape))
        macs = sum(row.macs for row in describe(kmodel)) / 1e6
        sys.stdout.write(
            f"| `{name}` | {size} | {macs:.1f} | {count} | {1e3 * each:.2f} | {1 / each:.1f} |\n"
        )


if __name__ == "__main__":
    main()
