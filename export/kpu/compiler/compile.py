"""From an ONNX graph and images to a kmodel v3; the compiler's front door.

==================  ===============================================================================
``steps.py``        what a network is made of: convolutions, and operators of the CPU
``lower.py``        an ONNX graph as such steps; ``check.py`` words what the KPU cannot do
``scalar.py``       activations as functions
``calibrate.py``    the values that tensors take on real images
``equalize.py``     channels made alike, so that 8 bits go further
``quantize.py``     numbers as integers; ``fit.py`` fits the activation table
``emit.py``         steps as layers, with copies between the memories where they are needed
``place.py``        addresses, by ``allocate.py``
==================  ===============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from ..format import Kmodel
from .calibrate import Method, measure
from .emit import Emitter
from .equalize import equalize
from .lower import lower
from .place import place
from .quantize import choose
from .steps import Conv, Shape


@dataclass(frozen=True, eq=False)
class Compiled:
    """A kmodel, the node that each layer comes from, and the shapes of the network's outputs."""

    kmodel: Kmodel
    names: tuple[str, ...]
    output_shapes: tuple[Shape, ...]


def compile_kmodel(
    proto: ModelProto, calibration: np.ndarray, method: Method = "minmax", equalized: bool = True
) -> Compiled:
    """Compile a network that takes raw pixels.

    Args:
        proto: static ONNX, batch 1, with the shapes of its tensors.
        calibration: uint8 images ``[N, C, H, W]``.
        method: how ranges are chosen.
        equalized: with cross-layer equalisation.

    Raises:
        KmodelError: the network cannot run on a K210; the node is named, and the fix.
    """
    network = lower(proto)
    wanted = {network.input}
    for step in network.steps:
        wanted |= {step.output, *step.inputs}
        wanted |= {step.sums, step.stored} if isinstance(step, Conv) else set()
    statistics = measure(proto, calibration, wanted)
    if equalized:
        network, statistics = equalize(network, statistics)
    emitter = Emitter(network, statistics, choose(network, statistics, method))
    kmodel, names = place(*emitter.emit())
    return Compiled(kmodel, names, tuple(network.shapes[name] for name in network.outputs))
