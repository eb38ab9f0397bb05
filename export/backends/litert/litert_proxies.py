"""Of a network that is mended: shapes, constants, and arguments for each axis."""

from __future__ import annotations

from torch import fx


def shape_of(x):
    """A proxy's."""
    return list(x.node.meta["val"].shape)


def constant(beside, tensor):
    """In the graph of another proxy, as a buffer of the network's."""
    graph, network = beside.node.graph, beside.node.graph.owning_module
    name = f"constant_{len(list(network.buffers()))}"
    network.register_buffer(name, tensor)
    return fx.Proxy(graph.get_attr(name), beside.tracer)


def each_of(value, dims):
    """What torch takes as one number or as several: one for each axis."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return (values * dims)[:dims]
