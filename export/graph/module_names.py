"""From the names in an ONNX file, and those that a toolchain makes of them, to module names.

The nodes of our files are called ``<module>/<operator>``. A batch normalisation that was folded
lends its name to the convolution, whose own is that of its weight. An activation function without
a module of its own is counted with the layer that toolchains fuse it into. Toolchains append to
names of nodes and of values: ``pool/AveragePool_2gavg_2conv0``, ``max_pool2d_mp_tile#1``,
``output3-rs``.
"""

from __future__ import annotations

from pathlib import Path

import onnx

_ACTIVATIONS = ("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid")


class ModuleNames:
    """Answers which module a name of a toolchain belongs to.

    Args:
        path: the ONNX file that the toolchain read; None: another file, whose names say nothing.
    """

    def __init__(self, path: Path | None) -> None:
        nodes = onnx.load(path, load_external_data=False).graph.node if path else ()
        modules: dict[str, str] = {}
        for node in nodes:
            module = _module_of(node)
            if not module and node.op_type in _ACTIVATIONS:
                module = modules.get(node.input[0], "")
            modules |= dict.fromkeys((node.name, *node.output), module)
        self._modules = modules

    def find(self, name: str) -> str:
        """The module of a node, of a value, or of a name that starts with one's.

        ``""`` is the network itself, and what no name is like.
        """
        likely = [known for known in self._modules if _is_made_of(name, known)]
        return self._modules[max(likely, key=len)] if likely else ""


def _is_made_of(name: str, known: str) -> bool:
    return name.startswith(known) and name[len(known) :][:1] in ("", "_", "#", "-")


def _module_of(node: onnx.NodeProto) -> str:
    weights = [name for name in node.input if name.endswith(".weight")]
    return weights[0].removesuffix(".weight") if weights else node.name.rpartition("/")[0]
