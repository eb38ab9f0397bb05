"""ExecuTorch with XNNPACK: torch.export's program to a .pte file, and its runtime."""

from __future__ import annotations

import functools
import importlib
import operator
import os
import sys
import time

import numpy as np

_CONVERTER = (
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
    "torchao.quantization.pt2e.quantize_pt2e",
)


def preload(function, arguments):
    _import_torch(arguments["packages"])
    for name in ("executorch.runtime", *(_CONVERTER if function == "convert" else ())):
        importlib.import_module(name)
    if function == "convert":
        _make_patterns()


def _make_patterns():
    """The networks that XNNPACK's passes look for in every network.

    Making them takes longer than converting a small network does. It leaves no threads.
    """
    import torch
    from executorch.backends.xnnpack.partition.graphs import bilinear_2d, sdpa
    from tqdm import tqdm

    tqdm.monitor_interval = 0
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    bilinear_2d.get_graphs_dict()
    sdpa.get_graphs()
    torch.set_num_threads(count)


def convert(arguments, arrays):
    """A program to a .pte file; int8 where there are calibration images.

    The value ``portable_ops`` names what XNNPACK leaves to ExecuTorch's own, slower kernels.
    """
    torch = _import_torch(arguments["packages"])
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    program = _fold_transposed(torch.export.load(arguments["program"]))
    if "images" in arrays:
        program = _quantize(program, arrays["images"], arguments["settings"])
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    nodes = edge.exported_program().graph_module.graph.nodes
    portable = [str(n.target._op) for n in nodes if type(n.target).__name__ == "EdgeOpOverload"]
    with open(arguments["out"], "wb") as file:
        edge.to_executorch().write_to_file(file)
    return {"portable_ops": portable}, {}


@functools.lru_cache(maxsize=1)
def _open(path):
    from executorch.runtime import Runtime

    return Runtime.get().load_program(path).load_method("forward")


def run(arguments, arrays):
    torch = _import_torch(arguments["packages"])
    torch.set_num_threads(1)
    method = _open(os.path.join(arguments["folder"], arguments["files"][0]))
    parts, seconds = [], []
    for inputs in _inputs(arrays["images"], arguments["settings"]):
        tensors = [torch.from_numpy(x) for x in inputs]
        start = time.perf_counter()
        answers = method.execute(tensors)
        seconds.append(time.perf_counter() - start)
        parts.append([answer.numpy().copy() for answer in answers])
    outputs = {f"output{i}": np.concatenate(values) for i, values in enumerate(zip(*parts))}
    return {"ms_per_image": float(np.median(seconds)) * 1e3}, outputs


def _fold_transposed(program):
    """Batch normalisation into the transposed convolution in front of it.

    XNNPACK's passes do so too, with the channels of one group for those of all.
    """
    import torch

    network = program.module()
    aten = torch.ops.aten
    convolutions = (
        *(aten.conv_transpose1d.default, aten.conv_transpose2d.input),
        aten.conv_transpose3d.input,
    )
    folded = [
        (node, node.args[0])
        for node in network.graph.nodes
        if node.target is aten.batch_norm.default
        and node.args[0].target in convolutions
        and len(node.args[0].users) == 1
    ]
    for norm, convolution in folded:
        _fold(network, norm, convolution)
    if not folded:
        return program
    network.recompile()
    return torch.export.export(network, *program.example_inputs)


def _fold(network, norm, convolution):
    import torch

    def given(node):
        return operator.attrgetter(node.target)(network).detach() if node is not None else None

    graph, arguments = network.graph, dict(enumerate(convolution.args))
    weight, bias, groups = given(arguments[1]), given(arguments.get(2)), arguments.get(6, 1)
    gamma, beta, mean, variance = map(given, norm.args[1:5])
    scale = (variance + norm.args[7]).rsqrt() * (1 if gamma is None else gamma)
    bias = ((0 if bias is None else bias) - mean) * scale + (0 if beta is None else beta)
    by_input = scale.reshape(groups, 1, -1).expand(-1, len(weight) // groups, -1)
    by_input = by_input.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))
    places = []
    for kind, value in (("weight", weight * by_input), ("bias", bias)):
        name = f"{convolution.name}_{kind}_folded"
        network.register_parameter(name, torch.nn.Parameter(value, requires_grad=False))
        with graph.inserting_before(convolution):
            places.append(graph.get_attr(name))
    convolution.args = (convolution.args[0], *places, *convolution.args[3:])
    norm.replace_all_uses_with(convolution)
    graph.erase_node(norm)


def _quantize(program, images, settings):
    """XNNPACK's scheme, but with the range over all images: its histograms clip.

    That gains 0.3 dB on a random ``unet_8``.
    """
    from dataclasses import replace

    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e import MinMaxObserver
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    scheme = get_symmetric_quantization_config(is_per_channel=True)
    observer = MinMaxObserver.with_args(eps=2**-12)  # the least scale, as in the scheme itself
    activation = replace(scheme.input_activation, observer_or_fake_quant_ctr=observer)
    scheme = replace(scheme, input_activation=activation, output_activation=activation)
    quantizer = XNNPACKQuantizer().set_global(scheme)
    # The others are of a batch normalisation that trains: tracing them takes half of the time.
    quantizer.SUPPORTED_PATTERNS = [p for p in quantizer.SUPPORTED_PATTERNS if not p.is_qat]
    network = prepare_pt2e(program.module(), quantizer)
    with torch.no_grad():
        for inputs in _inputs(images, settings):
            examples = tuple(torch.from_numpy(x) for x in inputs)
            network(*examples)
    return torch.export.export(convert_pt2e(network), examples)


def _inputs(images, settings):
    """The inputs of one sample after another: of an image, normalised; of a record, its fields."""
    mean, std = (np.float32(settings[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
    for sample in images:
        if sample.dtype.names is None:
            yield [np.ascontiguousarray((sample[None] - mean) / std, dtype=np.float32)]
        else:
            yield [np.ascontiguousarray(sample[name][None]) for name in sample.dtype.names]


def _import_torch(packages):
    if packages not in sys.path:
        sys.path.append(packages)  # edgeark's PyTorch; last, so that what is here comes first
    import torch

    return torch
