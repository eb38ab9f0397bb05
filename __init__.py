"""edgeark: a PyTorch model zoo whose models are proven to run on the chip.

The front door. Everything is imported on first use, so ``import edgeark`` costs next to nothing::

    model = edgeark.create_model("mnist", pretrained=True)
    rows = edgeark.export_model("mnist", to=["onnxruntime", "rknn:rk3588"], int8=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "create_model": ".zoo.registry",
    "list_models": ".zoo.registry",
    "ModelSpec": ".zoo.spec",
    "load_weights": ".zoo.weights",
    "save_weights": ".zoo.weights",
    "export_model": ".export.pipeline",
    "EdgearkError": ".errors",
}


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'edgeark' has no attribute {name!r}")
    if _EXPORTS[name].startswith(".zoo"):
        import_module(".zoo", __name__)  # registers the models
    return getattr(import_module(_EXPORTS[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_EXPORTS])
