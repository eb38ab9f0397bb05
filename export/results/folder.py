"""The folder of one export: artifact, ``manifest.json``, golden vectors, log; whole or absent."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
LOG = "log.txt"
GOLDEN_COUNT = 8


@contextmanager
def staged_folder(final: Path) -> Iterator[Path]:
    """A hidden folder beside ``final``; it takes its place if the block ends without an error."""
    final.parent.mkdir(parents=True, exist_ok=True)
    staging, old = (final.with_name(f".{final.name}.{os.getpid()}.{end}") for end in ("new", "old"))
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        if final.exists():
            final.replace(old)
        staging.replace(final)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_golden(
    folder: Path,
    images: np.ndarray,
    outputs: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
) -> None:
    """Some real inputs with this artifact's own answers and PyTorch's, to check a board against."""
    answers = {f"output{i}": o[:GOLDEN_COUNT] for i, o in enumerate(outputs)}
    wanted = {f"pytorch{i}": o[:GOLDEN_COUNT] for i, o in enumerate(reference)}
    arrays = {"input": images[:GOLDEN_COUNT], **answers, **wanted}
    np.savez_compressed(folder / GOLDEN, allow_pickle=False, **arrays)
