"""Run a kmodel on images, as the firmware's interpreter and the KPU do, layer by layer.

Both memories are modelled as bytes, with the KPU's own layout, so tensors that share an address
share their fate. What can be known without an image is checked once, before anything runs: that
every tensor lies inside its memory, that a layer reads only what was written, with the width it was
written with, and never writes over an input that it still reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from .format import Kmodel, layer_name
from .layer import KPU_ROWS, KmodelError, KpuTensor, Layer, MainTensor, Tensor
from .memory import Memory

_BATCH_BYTES = 1 << 20  # of a layer's largest tensor, over the images that run together
_LARGEST_BATCH = 64


@dataclass(frozen=True)
class _Step:
    """A layer with its tensors, whose shapes are known better than the layer alone knows them."""

    name: str
    layer: Layer
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]


class Simulator:
    """A kmodel, checked and ready to run.

    ``input`` is the tensor that an image goes to, ``outputs`` those that it yields.

    Raises:
        KmodelError: the layers cannot run in that order in that memory; the layer is named.
    """

    def __init__(self, kmodel: Kmodel) -> None:
        self.kmodel = kmodel
        self.input = kmodel.input
        plan = _Plan(kmodel)
        self._steps = plan.steps
        self.outputs = plan.outputs()
        largest = max(prod(tensor.shape) for s in self._steps for tensor in (*s.reads, *s.writes))
        self.batch = max(1, min(_LARGEST_BATCH, _BATCH_BYTES // largest))

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Each output for every image: ``[N, *shape]``, float32 or uint8.

        Args:
            images: ``[N, *input.shape]``; uint8 for a kmodel that begins with a convolution,
                which is all but the rarest, float32 otherwise. Batches are cut inside.

        Raises:
            KmodelError: a sum leaves the KPU's number range; the layer is named.
            ValueError: the images have another shape or type.
        """
        parts = []
        for start in range(0, len(images), self.batch):
            memory = Memory(self.kmodel.main_bytes, len(images[start : start + self.batch]))
            for _ in self._run(memory, images[start : start + self.batch]):
                pass
            parts.append([memory.read(tensor).copy() for tensor in self.outputs])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    def trace(self, images: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        """Each layer with its result ``[N, *shape]``, as it is computed; one batch at a time."""
        yield from self._run(Memory(self.kmodel.main_bytes, len(images)), images)

    def _run(self, memory: Memory, images: np.ndarray) -> Iterator[tuple[Layer, np.ndarray]]:
        dtype = "uint8" if isinstance(self.input, KpuTensor) else self.input.dtype
        if images.shape[1:] != self.input.shape or images.dtype != dtype:
            raise ValueError(
                f"this kmodel takes {dtype} [N, {', '.join(map(str, self.input.shape))}], got "
                f"{images.dtype} {list(images.shape)}"
            )
        memory.write(self.input, images)
        for step in self._steps:
            try:
                with np.errstate(all="ignore"):  # a broken file's numbers may be infinite
                    result = step.layer.compute(*map(memory.read, step.reads))
            except KmodelError as error:
                raise KmodelError(f"{step.name}: {error}") from None
            for tensor in step.writes:
                memory.write(tensor, result)
            yield step.layer, result.reshape(len(result), *step.writes[-1].shape)


class _Plan:
    """Walks through a kmodel without computing: which bytes hold what, layer after layer."""

    def __init__(self, kmodel: Kmodel) -> None:
        self._kmodel = kmodel
        self._written = np.zeros(kmodel.main_bytes, bool)
        self._row_width = np.zeros(KPU_ROWS, np.uint16)  # of the map that a row holds, 0 for none
        self._tensors: dict[int, MainTensor] = {}
        self.steps: list[_Step] = []
        for index, layer in enumerate(kmodel.layers):
            name = layer_name(index, layer)
            try:
                if problem := layer.problem():
                    raise KmodelError(problem)
                if index == 0:
                    self._write(kmodel.input)
                self.steps.append(self._step(name, layer))
            except KmodelError as error:
                raise KmodelError(f"{name}: {error}") from None

    def outputs(self) -> list[MainTensor]:
        """The kmodel's outputs with type and shape, as the last layer to write there left them."""
        found = []
        for index, output in enumerate(self._kmodel.outputs):
            end = output.address + output.size_bytes
            tensor = self._tensors.get(output.address)
            if not self._written[output.address : end].all():
                raise KmodelError(f"output {index}: no layer writes all of {output.address}..{end}")
            if tensor is None:
                tensor = MainTensor(output.address, "uint8", (output.size_bytes,))
            if tensor.size_bytes != output.size_bytes:
                itemsize = np.dtype(tensor.dtype).itemsize
                if output.size_bytes % itemsize:
                    raise KmodelError(
                        f"output {index}: {output.size_bytes} bytes of {tensor.dtype}"
                    )
                tensor = replace(tensor, shape=(output.size_bytes // itemsize,), extra_bytes=0)
            found.append(tensor)
        return found

    def _step(self, name: str, layer: Layer) -> _Step:
        reads, writes = layer.reads(), layer.writes()
        for tensor in reads:
            self._read(tensor)
        _check_overlaps(layer, reads, writes)
        shape = layer.output_shape([self._known_shape(tensor) for tensor in reads])
        writes = tuple(_with_shape(tensor, shape) for tensor in writes)
        for tensor in writes:
            self._write(tensor)
        return _Step(name, layer, reads, writes)

    def _known_shape(self, tensor: Tensor) -> tuple[int, ...]:
        if isinstance(tensor, MainTensor):
            known = self._tensors.get(tensor.address)
            if known and (known.size_bytes, known.dtype) == (tensor.size_bytes, tensor.dtype):
                return known.shape
        return tensor.shape

    def _read(self, tensor: Tensor) -> None:
        self._check_inside(tensor)
        if isinstance(tensor, MainTensor):
            if not self._written[tensor.address : tensor.end].all():
                raise KmodelError(
                    f"reads {tensor.address}..{tensor.end} of main memory, which no layer wrote"
                )
        else:
            width = tensor.shape[2]
            if (self._row_width[tensor.row : tensor.end] != width).any():
                raise KmodelError(
                    f"reads maps {width} wide in rows {tensor.row}..{tensor.end} of KPU RAM, where "
                    f"no layer wrote such"
                )

    def _write(self, tensor: Tensor) -> None:
        self._check_inside(tensor)
        if isinstance(tensor, KpuTensor):
            self._row_width[tensor.row : tensor.end] = tensor.shape[2]
            return
        end = tensor.end + tensor.extra_bytes
        self._tensors = {
            address: other
            for address, other in self._tensors.items()
            if other.end <= tensor.address or address >= end
        }
        self._tensors[tensor.address] = tensor
        self._written[tensor.address : tensor.end] = True
        self._written[tensor.end : end] = False

    def _check_inside(self, tensor: Tensor) -> None:
        if min(tensor.shape) < 1:
            raise KmodelError(f"a tensor of {list(tensor.shape)}")
        if isinstance(tensor, KpuTensor):
            if tensor.end > KPU_ROWS or tensor.row < 0:
                raise KmodelError(
                    f"rows {tensor.row}..{tensor.end} of KPU RAM, which has {KPU_ROWS}"
                )
            return
        end, size = tensor.end + tensor.extra_bytes, self._kmodel.main_bytes
        if end > size or tensor.address < 0:
            raise KmodelError(f"bytes {tensor.address}..{end} of main memory, which has {size}")
        if tensor.address % np.dtype(tensor.dtype).itemsize:
            raise KmodelError(f"{tensor.dtype} at {tensor.address}, which is no multiple of 4")


def _with_shape(tensor: Tensor, shape: tuple[int, ...] | None) -> Tensor:
    if shape and isinstance(tensor, MainTensor) and prod(shape) == prod(tensor.shape):
        return replace(tensor, shape=shape)
    return tensor


def _check_overlaps(layer: Layer, reads: Sequence[Tensor], writes: Sequence[Tensor]) -> None:
    for written in writes:
        for read in reads:
            if isinstance(written, MainTensor) and isinstance(read, MainTensor):
                end = written.end + written.extra_bytes
                in_place = layer.in_place and written.address == read.address
                if not in_place and written.address < read.end and read.address < end:
                    raise KmodelError(
                        f"writes {written.address}..{end} over its own input "
                        f"{read.address}..{read.end}"
                    )
            elif (
                isinstance(written, KpuTensor)
                and isinstance(read, KpuTensor)
                and written.row < read.end
                and read.row < written.end
            ):
                raise KmodelError(
                    f"writes rows {written.row}..{written.end} of KPU RAM over its own input "
                    f"{read.row}..{read.end}"
                )
