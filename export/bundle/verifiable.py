"""What makes a bundle an export as well: ``verify``, ``run`` and ``report`` take it."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..results.manifest import copy_manifest
from ..verify import Reopened
from .facts import BundleError


def make_verifiable(bundle: Path, export: Reopened) -> None:
    """Copy an export's manifest and golden vectors into a bundle, which has its files already.

    Raises:
        BundleError: the golden vectors are missing.
    """
    golden = export.manifest.golden.file
    if not export.has(golden):
        raise BundleError(f"{golden} is missing in {export.folder}: export again")
    (bundle / golden).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(export.folder / golden, bundle / golden)
    copy_manifest(export.manifest, bundle)
