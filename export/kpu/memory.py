"""The two memories as bytes, for a batch of images."""

from __future__ import annotations

import numpy as np

from .layer import KPU_ROWS, ROW_BYTES, KpuTensor, MainTensor, RowLayout, Tensor


class Memory:
    """Main memory and KPU RAM as bytes, one of each for every image of a batch."""

    def __init__(self, main_bytes: int, images: int) -> None:
        self.main = np.zeros((images, main_bytes), np.uint8)
        self.kpu = np.zeros((images, KPU_ROWS * ROW_BYTES), np.uint8)

    def read(self, tensor: Tensor) -> np.ndarray:
        """``[N, *shape]``; may be a view."""
        if isinstance(tensor, MainTensor):
            data = self.main[:, tensor.address : tensor.end].view(tensor.dtype)
            return data.reshape(-1, *tensor.shape)
        channels, height, width = tensor.shape
        maps = self._maps(tensor)
        return maps.reshape(len(maps), -1, height, maps.shape[-1])[:, :channels, :, :width]

    def write(self, tensor: Tensor, values: np.ndarray) -> None:
        if isinstance(tensor, MainTensor):
            data = np.ascontiguousarray(values, tensor.dtype).reshape(len(values), -1)
            self.main[:, tensor.address : tensor.end] = data.view(np.uint8)
            return
        channels, _, width = tensor.shape
        maps = self._maps(tensor)
        group = maps.shape[2]
        whole = channels // group * group
        shape = (len(values), -1, group, *values.shape[2:])
        maps[:, : channels // group, ..., :width] = values[:, :whole].reshape(shape)
        if whole < channels:
            maps[:, -1, : channels - whole, :, :width] = values[:, whole:]

    def _maps(self, tensor: KpuTensor) -> np.ndarray:
        """A view ``[N, groups, group, height, pitch]`` of the tensor's rows."""
        layout = RowLayout.of(tensor.shape[2])
        rows = self.kpu[:, tensor.row * ROW_BYTES : tensor.end * ROW_BYTES]
        shape = (len(rows), -1, tensor.shape[1], layout.group, layout.pitch)
        return rows.reshape(shape).transpose(0, 1, 3, 2, 4)
