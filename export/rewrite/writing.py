"""A rewritten network as a folder: straight-line PyTorch code, and its weights beside it.

``network.py`` needs torch and safetensors alone. Every name of the user's stands in it as a quoted
string, so that none can become code.
"""

from __future__ import annotations

import operator
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, fx

from .draft import RewriteError
from .engine import Rewritten

CODE_FILE, WEIGHTS_FILE = "network.py", "weights.safetensors"

_IMPORTS = {"inf": "from math import inf\n", "nan": "from math import nan\n"}
_ALWAYS = {"torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree"}  # fx's own
_FREED = re.compile(r";  \w+ =( \w+ =)* None *$", re.MULTILINE)
_CODE = '''"""Written by `edgeark rewrite`: `load()` gives the network, in evaluation mode.

Its parameters lie in {weights} beside this file, under their names in the network that
this one was made of. It is for inputs of {shape}.
"""

{imports}from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import device

BUFFERS = {buffers}


class Network(torch.nn.Module):
    def __init__(self, weights):
        super().__init__()
        for name, tensor in weights.items():
            *path, last = name.split(".")
            module = self
            for part in path:
                if part not in dict(module.named_children()):
                    module.add_module(part, torch.nn.Module())
                module = module.get_submodule(part)
            if name in BUFFERS:
                module.register_buffer(last, tensor)
            else:
                module.register_parameter(last, torch.nn.Parameter(tensor))

{forward}

def load():
    return Network(load_file(Path(__file__).with_name("{weights}"))).eval()
'''


def write_network(rewritten: Rewritten, out: Path) -> None:
    """Write ``network.py``, whose ``load()`` gives the network, and ``weights.safetensors``.

    Args:
        rewritten: whose ``model`` to write.
        out: a folder that is made; an empty one may be there.

    Raises:
        RewriteError: the folder is not empty, or the network has parts that code cannot name.
        OSError: nothing can be written there; nothing is left behind.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RewriteError(f"{out} is there already: name another folder, or an empty one")
    model = rewritten.model
    code = _write_code(model)
    tensors = {name: t.detach().cpu().clone().contiguous() for name, t in _tensors(model).items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    partial.mkdir()
    try:
        (partial / CODE_FILE).write_text(code, encoding="utf-8")
        save_file(tensors, partial / WEIGHTS_FILE)
        partial.replace(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _tensors(model: fx.GraphModule) -> dict[str, Tensor]:
    """Those that the graph reads: of shared ones, both names."""
    named = dict(model.named_parameters(remove_duplicate=False))
    return named | dict(model.named_buffers(remove_duplicate=False))


def _write_code(model: fx.GraphModule) -> str:
    buffers = sorted(name for name, _ in model.named_buffers(remove_duplicate=False))
    written = _with_quoted_names(model).python_code("self")
    strange = sorted(set(written.globals) - _ALWAYS)
    if strange:
        raise RewriteError(f"the network cannot be written as code: it holds {strange[0]}")
    body = _FREED.sub("", written.src).strip("\n")
    (image,) = model.graph.find_nodes(op="placeholder")
    code = _CODE.format(
        weights=WEIGHTS_FILE,
        shape="x".join(map(str, image.meta["val"].shape)),
        imports="".join(line for name, line in _IMPORTS.items() if re.search(rf"\b{name}\b", body)),
        buffers=repr(set(buffers)) if buffers else "set()",
        forward="".join(f"    {line}\n" if line else "\n" for line in body.splitlines()),
    )
    compile(code, CODE_FILE, "exec")
    return code


def _with_quoted_names(model: fx.GraphModule) -> fx.Graph:
    """``self.get_parameter("a.b")`` for ``self.a.b``, which a strange name would break."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    graph = fx.Graph()
    placed: dict[fx.Node, fx.Node] = {}
    itself = graph.placeholder("self")
    for node in model.graph.nodes:
        if node.op == "get_attr":
            getter = "get_parameter" if node.target in parameters else "get_buffer"
            placed[node] = graph.call_method(getter, (itself, node.target))
        elif node.op == "call_function" and not _is_of_torch(node):
            raise RewriteError(f"the network cannot be written as code: it calls {node.target}")
        else:
            placed[node] = graph.node_copy(node, placed.__getitem__)
    return graph


def _is_of_torch(node: fx.Node) -> bool:
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target.namespace == "aten"
    return node.target is operator.getitem
