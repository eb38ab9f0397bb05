"""What a network is: its facts, its cost by layer, and where its weights come from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.catalog import packaged_weights
from ..zoo.registry import create_model
from ..zoo.spec import spec_of
from ..zoo.stages import measure_stages
from ..zoo.summary import summarize
from ..zoo.weights import read_header, read_spec_overrides
from .graph.onnx_graph import OnnxNetwork
from .request import NetworkRequest
from .sources import SourceError


def describe_network(request: NetworkRequest) -> dict[str, Any]:
    """The document of ``edgeark info``.

    Raises:
        EdgearkError: no such network; or an ONNX file that has no equal in PyTorch.
    """
    if request.is_measured and isinstance(request.network, str):
        name, reference = request.network, "pytorch"
        model = create_model(name, weights=request.weights)
        shipped = packaged_weights(name)
        file = request.weights or (shipped if shipped.exists() else None)
    else:
        source = request.source
        name, model, reference, file = source.name, source.model, source.reference, request.weights
    if isinstance(model, OnnxNetwork):
        if model.module is None:
            raise SourceError(f"{name}: its layers cannot be counted: {model.reason}")
        spec, outputs = model.spec, model.output_names
        model = model.module
        model.spec = spec  # type: ignore[assignment]
    else:
        outputs = getattr(model, "output_names", ())
    spec = spec_of(model)
    return {
        "name": name,
        **spec.to_dict(),
        **asdict(summarize(model)),
        "reference": spec.reference or reference,
        "outputs": list(outputs),
        "stages": [asdict(stage) for stage in measure_stages(model)],
        "weights": None if file is None else str(file),
        "trained": {} if file is None else _known(Path(file)),
    }


def _known(file: Path) -> dict[str, Any]:
    """What weights say of themselves: data set, classes and size that they know, epoch, seed ..."""
    if file.suffix != ".safetensors":
        return {}
    said = read_spec_overrides(file)
    facts = {key: said[key] for key in ("dataset", "classes", "input_size") if key in said}
    return {**facts, **read_header(file)}
