"""How long a layer should take on a K210 at 400 MHz: an estimate from published times.

A convolution, in milliseconds::

    rows(input) * output channels / 400e3 + bytes / 870e3

``rows`` are those of 64 bytes that its input takes in KPU RAM: the KPU reads one a cycle, once for
each output channel, whatever the kernel; a depthwise convolution reads them once. ``bytes`` come
from main memory or go there: weights, tables, and the output where the CPU wants it. The input's
resolution counts: a stride or a pool comes after the sums.

That is read from ten times which Sipeed measured with 128 channels in and out, 3x3, 16-bit weights
and the KPU at 300 MHz (bbs.sipeed.com/t/topic/691). From 4x4 to 16x4 pixels nothing but the weights
count (294,912 bytes in 0.339 ms), from 64x64 pixels on the rows alone; the formula is 34 % above
the measured time at worst (16x16) and 5 % below (128x64). That 1x1 kernels take as long as 3x3 ones
is inferred: with nine times the speed, the 20 to 30 images a second of MobileNet v1 at 320x240
named there would be 200.

A layer of the CPU::

    5 cycles a byte that it reads or writes, constants included

which no measurement backs: where these layers take most of the time, the whole estimate is a guess.
The camera, MicroPython and the decoding of the answer are not counted.
"""

from __future__ import annotations

from math import prod

from .conv import KpuConv
from .layer import Layer, MainTensor, Tensor
from .maps import QuantizedMaxPool

CYCLES_PER_MS = 400e3  # CPU and KPU, as MaixPy starts them
_DMA_BYTES_PER_MS = 870e3
_CPU_CYCLES_PER_BYTE = 5
_DMA_WIDTH = 64  # maps of other widths than its multiples are copied onto the KPU by the CPU


def layer_ms(layer: Layer) -> float:
    """Estimated milliseconds of one layer, for one image."""
    if isinstance(layer, KpuConv):
        passes = 1 if layer.depthwise else layer.out_channels
        moved = layer.constant_bytes + sum(
            tensor.size_bytes for tensor in layer.writes() if isinstance(tensor, MainTensor)
        )
        return layer.source.rows * passes / CYCLES_PER_MS + moved / _DMA_BYTES_PER_MS
    read = sum(map(_bytes, layer.reads()))
    written = sum(map(_bytes, layer.writes()))
    if isinstance(layer, QuantizedMaxPool):
        read = layer.kernel_height * layer.kernel_width * written
    return (layer.constant_bytes + read + written) * _CPU_CYCLES_PER_BYTE / CYCLES_PER_MS


def input_ms(image: Tensor) -> float:
    """Estimated milliseconds until an image is where the first layer reads it."""
    if isinstance(image, MainTensor):
        return 0.0
    if image.shape[2] % _DMA_WIDTH == 0:
        return _bytes(image) / _DMA_BYTES_PER_MS
    return 2 * _bytes(image) * _CPU_CYCLES_PER_BYTE / CYCLES_PER_MS


def _bytes(tensor: Tensor) -> int:
    return tensor.size_bytes if isinstance(tensor, MainTensor) else prod(tensor.shape)
