"""edgeark: from a PyTorch network to files that are proven to run on the chip.

The front door. Everything is imported on first use, so ``import edgeark`` costs next to nothing::

    findings = edgeark.check(network, to=["mnn", "rknn:rk3588"], example_inputs=x)
    rows = edgeark.export_model(network, to=["onnxruntime", "mnn"], example_inputs=x, int8=True)
    model = edgeark.create_model("mnist", pretrained=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "check": ".export.api",
    "rewrite": ".export.api",
    "run": ".export.api",
    "verify": ".export.api",
    "export_model": ".export.pipeline",
    "InputOptions": ".export.sources",
    "create_model": ".zoo.registry",
    "list_models": ".zoo.registry",
    "ModelSpec": ".zoo.spec",
    "load_weights": ".zoo.weights",
    "save_weights": ".zoo.weights",
    "EdgearkError": ".errors",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'edgeark' has no attribute {name!r}")
    if _EXPORTS[name].startswith(".zoo"):
        import_module(".zoo", __name__)  # registers the models
    return getattr(import_module(_EXPORTS[name], __name__), name)


def __dir__() -> list[str]:
    return sorted(_EXPORTS)
