"""coremltools: a TorchScript trace to a model package, read again and compared with the network."""

from __future__ import annotations

import sys


def convert(arguments, arrays):
    """Write the package; its weights and its arithmetic are of ``precision``."""
    sys.path.append(arguments["packages"])  # edgeark's PyTorch; last, after what is here
    import coremltools as ct
    import torch  # before coremltools, which looks whether it is there

    settings = arguments["settings"]
    precisions = {"float16": ct.precision.FLOAT16, "float32": ct.precision.FLOAT32}
    package = ct.convert(
        torch.jit.load(arguments["trace"]),
        convert_to="mlprogram",
        inputs=[ct.TensorType(name=settings["input"], shape=arguments["shape"])],
        outputs=[ct.TensorType(name=name) for name in settings["outputs"]],
        compute_precision=precisions[arguments["precision"]],
        minimum_deployment_target=ct.target.iOS15,
    )
    package.save(arguments["out"])
    (main,) = ct.utils.load_spec(arguments["out"]).mlProgram.functions.values()
    (block,) = main.block_specializations.values()
    made = {output.name: _shape(output) for op in block.operations for output in op.outputs}
    shapes = {entry.name: _shape(entry) for entry in main.inputs}
    shapes |= {name: made[name] for name in block.outputs}
    names = [settings["input"], *settings["outputs"]]
    wanted = dict(zip(names, [arguments["shape"], *arguments["output_shapes"]]))
    if shapes != wanted:
        raise ValueError(f"the package has {shapes}, the network {wanted}")
    return {}, {}


def _shape(value):
    return [d.constant.size for d in value.type.tensorType.dimensions]
