"""Commands that run what is there already: run, verify."""

from __future__ import annotations

import json as jsonlib
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..core.messages import format_shape
from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import err, out, print_json, print_table, working
from .exports import PASSED
from .options import JsonFlag, NetworkOrExport, OfflineFlag, ToolOption, TrustFlag, takes_network
from .tables import formatted

if TYPE_CHECKING:
    import numpy as np

    from ..export.frames import Drawings, Frame, Source
    from ..export.request import NetworkRequest
    from ..export.run import Answer, Runner

_PLAIN: Any = {"highlight": False, "markup": False, "soft_wrap": True}


@takes_network(named=NetworkOrExport)
def run(
    request: NetworkRequest,
    image: Annotated[
        str,
        typer.Option(
            "--image",
            help="An image of any size, a folder of them, a video, or camera:0; for tensors an "
            "array, .npy or .npz.",
        ),
    ],
    drawing: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option(
            "--out",
            help="Draw the answers: into an image's file, a video's, or a folder. A mask goes "
            "beside it, as .mask.png.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Draw the answers in a window; q ends it.")
    ] = False,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--limit", min=1, help="At most this many images or frames."),
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="The raw outputs as well, in the JSON.")
    ] = False,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Run a network, an export or a kmodel on images and print what it answers."""
    from ..export.frames import Drawings, Source
    from ..export.run import open_network

    if offline:
        go_offline()
    if raw and not json:
        raise EdgearkError("--raw goes with --json")
    name, source = str(request.network), Source(image, limit)
    drawings = Drawings(source, drawing, show)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as documents:
        with working() as say, drawings.opened():
            say(f"{name} on {image}")
            with open_network(request) as network:
                if source.kind != "image" and not json:
                    out.print(f"{name}, answered by {network.answered_by}", **_PLAIN)
                write = _JsonWriter(documents, source, raw) if json else _Printer(name, source)
                _answer_all(network, source, drawings, write)
        documents.seek(0)
        shutil.copyfileobj(documents, sys.stdout)


def _answer_all(
    network: Runner, source: Source, drawings: Drawings, write: _JsonWriter | _Printer
) -> None:
    """Ask about every frame, draw the answers and write what they say."""
    asked: deque[Frame] = deque()  # and not answered yet

    def images() -> Iterator[np.ndarray | Path]:
        for frame in source.frames():
            asked.append(frame)
            yield frame.image

    live = source.kind == "camera" or (drawings.show and source.is_moving)
    try:
        for answer in network.answers(images(), live=live):
            frame = asked.popleft()
            goes_on = drawings.add(frame, answer)
            write(frame, answer, _masks(frame, answer, drawings))
            if not goes_on:
                break
    except KeyboardInterrupt:
        if not source.is_moving:
            raise
    write.end()


class _Printer:
    """A table of a single image; a line of each of several."""

    def __init__(self, name: str, source: Source) -> None:
        self._name, self._is_single = name, source.kind == "image"

    def __call__(self, frame: Frame, answer: Answer, masks: dict[str, Path]) -> None:
        if not self._is_single:
            out.print(f"{frame.name}: {answer.describe() or 'nothing found'}", **_PLAIN)
            return
        out.print(f"{self._name}, answered by {answer.answered_by}", "", **_PLAIN)
        rows = answer.rows()
        if rows:
            cells = [list(row.to_dict().values()) for row in rows]
            print_table(frame.name, list(rows.columns.values()), cells)
        else:
            out.print(f"{frame.name}: nothing found", "", **_PLAIN)
        for key, path in masks.items():
            out.print(f"{key}: {path}", "", **_PLAIN)
        if answer.meaning:
            ranges = [
                [format_shape(v) if k == "shape" else v for k, v in row.items()]
                for row in answer.output_ranges()
            ]
            print_table("raw outputs", ["output", "shape", "type", "least", "greatest"], ranges)

    def end(self) -> None:
        """Nothing is held back."""


class _JsonWriter:
    """The document of a single image; a list of those of several, a line each."""

    def __init__(self, file: IO[str], source: Source, raw: bool) -> None:
        self._file, self._is_single, self._raw = file, source.kind == "image", raw
        self._count = 0

    def __call__(self, frame: Frame, answer: Answer, masks: dict[str, Path]) -> None:
        document = {
            "image": frame.name,
            "answered_by": answer.answered_by,
            **({"outputs": [output.tolist() for output in answer.outputs]} if self._raw else {}),
            "output_ranges": answer.output_ranges(),
            **{k: v for k, v in answer.meaning.items() if not hasattr(v, "dtype")},
            **{key: str(path) for key, path in masks.items()},
        }
        if not self._is_single:
            self._file.write(",\n" if self._count else "[\n")
        indent = 2 if self._is_single else None
        jsonlib.dump(document, self._file, indent=indent, allow_nan=False)
        self._count += 1

    def end(self) -> None:
        if self._is_single:
            self._file.write("\n")
        else:
            self._file.write("\n]\n" if self._count else "[]\n")


def _masks(frame: Frame, answer: Answer, drawings: Drawings) -> dict[str, Path]:
    """Where the masks of an answer are; of a single image that is not drawn they are written."""
    from ..export.frames import masks_of, write_mask
    from ..training.checkpoint import atomic_path

    found: dict[str, Path] = {}
    for key, mask in masks_of(answer).items():
        place = drawings.mask_file(frame, key)
        if place is None and drawings.source.kind == "image":
            place = Path(f"{frame.file.stem}.{key}.png")
            with atomic_path(place) as partial:
                write_mask(mask, partial)
        if place is not None:
            found[key] = place
    return found


def verify(
    folders: Annotated[
        list[Path], typer.Argument(help="Exports, bundles, or folders with some below them.")
    ],
    board: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--board",
            help="What a board wrote about a bundle, or the export that it is of: its board.json.",
        ),
    ] = None,
    tool: ToolOption = None,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Run exports on their golden images: whether they still answer as when they were written."""
    from ..export.board import read_board, verify_board
    from ..export.targets.tools import parse_tools, set_tools
    from ..export.verify import find_exports, verify_export

    if offline:
        go_offline()
    exports = [export for folder in folders for export in find_exports(folder)]
    set_tools([export.target for export in exports], parse_tools(tool or ()))
    rows = []
    if board is not None:
        if len(exports) != 1:
            raise EdgearkError(
                f"--board is about one export, here are {len(exports)}: name its own"
            )
        rows.append(verify_board(exports[0], read_board(board)))
        exports = []
    with working() as say:
        for export in exports:
            say(str(export.folder))
            rows.append(verify_export(export))
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        columns = ["export", "status", "evidence", "max abs", "SQNR dB", "since written"]
        cells = [
            [
                *(str(row.folder), row.status, row.evidence),
                formatted(row.max_abs_error, ".1e"),
                formatted(row.sqnr_db, ".1f"),
                formatted(row.repeat_error, ".1e"),
            ]
            for row in rows
        ]
        print_table("exports beside PyTorch, and beside themselves", columns, cells)
        for row in rows:
            if row.message:
                err.print(f"{row.folder}: {row.message}", soft_wrap=True)
    raise typer.Exit(0 if all(row.status in PASSED for row in rows) else 1)
