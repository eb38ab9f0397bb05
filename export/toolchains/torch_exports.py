"""What ``torch.export`` computes anew at every call, and need not.

A conversion exports or decomposes a program several times. At each of them PyTorch visits its
1,300 composite operators, and writes down the type of a function for each: a fifteenth of the time
in which a small network becomes a LiteRT file. Imports nothing of edgeark: toolchains' processes
load this file.
"""

import importlib
import sys
import typing


def remember_operators() -> None:
    """Visit them once, and again only when there are more; nothing where PyTorch is not loaded."""
    if "torch" not in sys.modules:
        return
    import torch
    from torch._export import utils

    names = vars(importlib.import_module("torch._ops"))
    if names["Callable"] is typing.Callable:
        return
    names["Callable"] = typing.Callable  # it keeps the types that it has made
    visit, seen = utils._materialize_cpp_cia_ops, 0

    def visit_new() -> None:
        nonlocal seen
        found = torch._C._dispatch_get_registrations_for_dispatch_key("CompositeImplicitAutograd")
        if len(found) != seen:
            visit()
            seen = len(found)

    utils._materialize_cpp_cia_ops = visit_new
