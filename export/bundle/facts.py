"""What a board program has to know of a network: the content of ``model.json``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter

from ...errors import EdgearkError
from ..results.interface import HeadFacts, InputFacts, OutputFacts, ResizeFacts
from ..results.manifest import SCHEMA_VERSION, Manifest
from ..targets.board import BoardRuntime

SCHEMA = 1


class BundleError(EdgearkError):
    """An export of which no bundle can be made."""


@dataclass(frozen=True)
class GoldenFacts:
    """Raw files: inputs uint8 ``[N, C, h, w]``; the export's and PyTorch's answers, float32.

    Another processor may answer otherwise by ``tolerance`` of the largest magnitude, at least 1.
    """

    count: int
    pixels: str
    export: tuple[str, ...]
    pytorch: tuple[str, ...]
    tolerance: float


@dataclass(frozen=True)
class Facts:
    """All of it; ``runtime`` holds what the backend's own code needs besides."""

    model: str
    task: str
    target: str
    precision: str
    license: str
    files: tuple[dict[str, str], ...]
    input: InputFacts
    resize: ResizeFacts
    outputs: tuple[OutputFacts, ...]
    head: HeadFacts
    golden: GoldenFacts
    runtime: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """JSON values; what programs do not ask for is left out."""
        left_out = {"input": {"resize", "letterbox", "range", "normalization"}}
        return _AS_JSON.dump_python(self, mode="json", exclude=left_out)


_AS_JSON = TypeAdapter(Facts)


def facts_of(
    manifest: Manifest, board: BoardRuntime, golden: GoldenFacts, chip: str | None
) -> Facts:
    """The facts of an export for the runtime of a board.

    Args:
        manifest: the export's.
        board: how its target's runtime is fed.
        golden: the golden files of the bundle.
        chip: the target's, where it has chips.

    Raises:
        BundleError: the manifest does not say enough.
    """
    if manifest.schema_version < SCHEMA_VERSION:
        raise BundleError(
            f"{manifest.model} was exported by edgeark {manifest.edgeark}, whose manifest does not "
            "say how the runtime is fed: export again"
        )
    if not manifest.head.decoder:
        raise BundleError(f"a detector without a head in its spec: {manifest.model}")
    return Facts(
        model=manifest.model,
        task=manifest.task,
        target=manifest.target,
        precision=manifest.precision,
        license=manifest.license,
        files=tuple({"name": file.name, "sha256": file.sha256} for file in manifest.files),
        input=manifest.input,
        resize=manifest.input.resize,
        outputs=manifest.outputs,
        head=manifest.head,
        golden=golden,
        runtime={**manifest.settings, "chip": chip} if board.takes_sources else {},
    )
