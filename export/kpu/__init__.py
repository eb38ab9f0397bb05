"""The K210's neural network accelerator (KPU) and its file format, kmodel v3; NumPy alone.

A kmodel is a list of layers. Convolutions run on the KPU, on uint8 tensors in its own 2 MiB of RAM;
everything else runs on the CPU, mostly on float32 in main memory. Read in this order:

==================  ===============================================================================
``layer.py``        the two memories, tensors in them, and what every layer can say of itself
``tables.py``       the KPU's integer formats: batch normalisation and activation table
``conv.py``         :class:`KpuConv`, a convolution with typed fields
``registers.py``    the twelve register words that it becomes
``arithmetic.py``   what the KPU computes, to the bit
``elementwise.py``  the layers that run on the CPU, element by element
``maps.py``         the others that do: pools, fully connected, concatenation, ways onto the KPU
``format.py``       a whole file: ``read_kmodel`` and ``write_kmodel``
``memory.py``       both memories as bytes
``simulate.py``     :class:`Simulator`: a batch of images through a kmodel
``describe.py``     what each layer costs; ``timing.py`` how long it should take
``budget.py``       whether all of it fits a board
==================  ===============================================================================

The compiler, from an ONNX graph to a kmodel, is ``compile.py``, which says how to go on; it is not
imported here, since it needs ONNX and ONNX Runtime.

Where the facts come from: the kmodel structures that Sipeed and Canaan publish, and the arithmetic
of nncase 1.9's simulator. The vendor's published files are read and written to the byte, and find a
face or a person in a photograph. No board has confirmed any of it: what this package shows is
*modelled*, and where silicon or firmware may differ the code says so.
"""

from .conv import KpuConv, Pool
from .describe import LayerCost, describe
from .format import Kmodel, Output, read_kmodel, write_kmodel
from .layer import KmodelError
from .simulate import Simulator
from .tables import Activation, BatchNorm

__all__ = [
    "Activation",
    "BatchNorm",
    "Kmodel",
    "KmodelError",
    "KpuConv",
    "LayerCost",
    "Output",
    "Pool",
    "Simulator",
    "describe",
    "read_kmodel",
    "write_kmodel",
]
