"""The demo: both digit networks on six targets, each export proven, and a report to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.scratch import scratch_folder
from ..core.settings import cache_folder, is_offline
from ..training.data.sources import find_dataset
from .pipeline import export_all
from .prepare import prepare
from .report import write_report
from .results.schema import ExportResult
from .targets import find_targets
from .toolchains import Toolchain

DEMO_MODELS = ("mnist", "mnist_kpu")
DEMO_TARGETS = ("onnxruntime", "torchscript", "opencv", "mnn", "openvino", "rknn:rk3588")
REPORT = "report.html"
_MNIST_MB = 12
_MNIST_MARKERS = ("train-images-idx3-ubyte*", "t10k-images-idx3-ubyte*")


@dataclass(frozen=True)
class DemoResult:
    """All rows, model by model, and the report's file."""

    rows: list[ExportResult]
    report: Path


def announce(data: Path | None) -> list[str]:
    """What the demo is about to fetch, and which data it will use; looks, and fetches nothing.

    Raises:
        DataError: ``data`` is given and MNIST is not there.
    """
    offline = is_offline()
    missing = _missing_toolchains()
    found = _find_mnist(data)
    return [_download_line(missing, found is None, offline), _data_line(found, offline)]


def run_demo(
    out: Path,
    *,
    data: Path | None = None,
    limit: int | None = None,
    on_step: Callable[[str], None] | None = None,
) -> DemoResult:
    """Export to ``out/<model>/<target>/<precision>`` and write ``out/report.html``.

    A toolchain that fails or cannot be had is a row of the report like any other.

    Raises:
        EdgearkError: no weights or no data: before anything is written.
    """
    out = Path(out)
    targets = find_targets(",".join(DEMO_TARGETS))
    with scratch_folder("demo") as scratch:
        contexts = []
        for model in DEMO_MODELS:
            if on_step:
                on_step(f"{model} in PyTorch")
            folder = Path(scratch) / model
            folder.mkdir()
            contexts.append(prepare(model, folder, data=data, limit=limit))
        found = [
            (context, export_all(context, targets, out, int8=True, on_step=on_step))
            for context in contexts
        ]
    report = out / REPORT
    write_report(found, report)
    return DemoResult([row for _, rows in found for row in rows], report)


def _missing_toolchains() -> list[Toolchain]:
    """Those that the demo's targets need and that are not installed, each once."""
    targets = find_targets(",".join(DEMO_TARGETS))
    needed = {chain.name: chain for target in targets for chain in target.toolchains()}
    return [chain for chain in needed.values() if not chain.is_installed()]


def _find_mnist(data: Path | None) -> Path | None:
    """Where all of MNIST is: in a folder of the user's, or in the cache of an earlier download."""
    folders = [find_dataset("mnist", marker, data) for marker in _MNIST_MARKERS]
    return None if None in folders else folders[0]


def _download_line(missing: Sequence[Toolchain], fetch_data: bool, offline: bool) -> str:
    if offline:
        names = ", ".join(chain.name for chain in missing)
        lacking = f"not installed, to be reported as unavailable: {names}" if names else ""
        return f"download: nothing (offline); {lacking or 'every toolchain is installed'}"
    sizes = {chain.name: chain.download_mb for chain in missing}
    if fetch_data:
        sizes["MNIST"] = _MNIST_MB
    if not sizes:
        return "download: nothing"
    parts = ", ".join(f"{name} {size} MB" for name, size in sizes.items())
    return f"download: {parts}; {sum(sizes.values())} MB in all, once, into {cache_folder()}"


def _data_line(found: Path | None, offline: bool) -> str:
    if found is not None:
        return f"data: MNIST in {found}"
    if offline:
        return "data: scikit-learn's digits, since MNIST is not here"
    return (
        f"data: MNIST will be downloaded (about {_MNIST_MB} MB); "
        "where that fails, scikit-learn's digits"
    )
