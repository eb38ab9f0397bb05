"""Commands that run what is there already: run, verify."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..errors import EdgearkError
from ..settings import go_offline
from ..words import format_shape
from .console import err, print_json, print_table, working
from .options import JsonFlag, NetworkOrExport, OfflineFlag, ToolOption, TrustFlag, takes_network
from .tables import formatted

if TYPE_CHECKING:
    import numpy as np

    from ..export.request import NetworkRequest


@takes_network(named=NetworkOrExport)
def run(
    request: NetworkRequest,
    image: Annotated[
        Path,
        typer.Option("--image", help="An image of any size; for tensors an array, .npy or .npz."),
    ],
    mask_file: Annotated[
        Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--out", help="A mask's file, png. Default: IMAGE.mask.png, here."),
    ] = None,
    offline: OfflineFlag = False,
    trust: TrustFlag = False,
    json: JsonFlag = False,
) -> None:
    """Run a network, an export or a kmodel on an image and print what it answers."""
    from ..export.run import answer_image

    if offline:
        go_offline()
    name = str(request.network)
    if mask_file is not None and mask_file.suffix.lower() != ".png":
        raise EdgearkError(f"--out {mask_file}: a mask is a .png")
    with working() as say:
        say(f"{name} on {image.name}")
        answer = answer_image(request, image)
    meaning = dict(answer.meaning)
    if "mask" in meaning:
        path = mask_file or Path(f"{image.stem}.mask.png")
        _write_mask(meaning["mask"], path)
        meaning["mask"] = str(path)
    if json:
        outputs = [output.tolist() for output in answer.outputs]
        return print_json({"outputs": outputs, **meaning})
    _print_meaning(name, meaning, answer.meaning)
    rows = [
        [i, format_shape(o.shape), str(o.dtype), float(o.min()), float(o.max()),
         int(o.argmax()), ", ".join(f"{v:.4g}" for v in o.ravel()[:5])]
        for i, o in enumerate(answer.outputs)
    ]  # fmt: skip
    columns = ["output", "shape", "type", "least", "greatest", "index of it", "first values"]
    print_table("raw outputs" if meaning else name, columns, rows)


def _write_mask(mask: np.ndarray, path: Path) -> None:
    """Values are indices of classes; a palette makes them visible."""
    from PIL import Image

    from ..training.checkpoint import atomic_path
    from ..zoo.tasks.segmentation import class_colors

    image = Image.fromarray(mask)
    colors = class_colors(int(mask.max()) + 1)
    image.putpalette([part for i in range(256) for part in colors.get(i, (0, 0, 0))])
    with atomic_path(path) as partial:
        image.save(partial, "PNG")


def _print_meaning(title: str, meaning: dict[str, Any], raw: dict[str, Any]) -> None:
    if "classes" in meaning:
        rows = [[c["name"], c["index"], f"{100 * c['score']:.2f} %"] for c in meaning["classes"]]
        print_table(title, ["class", "index", "probability"], rows)
    if "detections" in meaning:
        rows = [
            [d["name"], f"{100 * d['score']:.1f} %", *(f"{side:.0f}" for side in d["box"])]
            for d in meaning["detections"]
        ]
        print_table(f"{title}: {len(rows)} found", ["class", "score", "x1", "y1", "x2", "y2"], rows)
    if "mask" in meaning:
        counts = Counter(raw["mask"].ravel().tolist())
        shares = [[i, f"{100 * n / raw['mask'].size:.2f} %"] for i, n in sorted(counts.items())]
        print_table(f"{title}: {meaning['mask']}", ["value", "share of the pixels"], shares)


def verify(
    folders: Annotated[
        list[Path], typer.Argument(help="Exports, or folders with exports below them.")
    ],
    board: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--board", help="What a board wrote about one export: its board.json."),
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
    raise typer.Exit(0 if all(row.status == "ok" for row in rows) else 1)
