"""The command that makes what is copied to a board: bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..core.catalog import NETWORK_FILES
from ..core.scratch import scratch_folder
from ..core.settings import go_offline
from ..errors import EdgearkError
from .console import err, out, print_json, print_table, working
from .options import (
    Int8Flag,
    JsonFlag,
    LimitOption,
    NetworkOrExport,
    OfflineFlag,
    RewriteFlag,
    takes_network,
)

if TYPE_CHECKING:
    from ..export.request import NetworkRequest
    from ..export.targets.board import Bundle


@takes_network(samples=True, named=NetworkOrExport)
def bundle(
    request: NetworkRequest,
    out_dir: Annotated[Path, typer.Option("--out", help="The bundle: a new folder.")],
    to: Annotated[
        Optional[str],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
        typer.Option("--to", help="The target: onnxruntime, rknn:rk3588 ... Known of an export."),
    ] = None,
    languages: Annotated[
        str,
        typer.Option(
            "--lang", help="Of the programs: python, cpp, kotlin, web; the target's first if none."
        ),
    ] = "",
    nn_archive: Annotated[
        bool,
        typer.Option("--nn-archive", help="With a Luxonis NN Archive, of a float32 ONNX file."),
    ] = False,
    int8: Int8Flag = False,
    rewrite: RewriteFlag = False,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Write a folder for a board: network, program, golden vectors, README."""
    from ..export.bundle.write import write_bundle
    from ..export.request import NetworkRequest
    from ..export.run import is_export

    if offline:
        go_offline()
    wanted = [name.strip().lower() for name in languages.split(",") if name.strip()]
    path = Path(str(request.network))
    is_other_file = path.is_file() and path.suffix.lower() not in NETWORK_FILES
    if path.suffix.lower() == ".safetensors":
        raise EdgearkError(f"{path} holds weights: edgeark bundle NETWORK --weights {path}")
    if is_export(path) or is_other_file:
        if int8 or rewrite or request != NetworkRequest(request.network):
            raise EdgearkError("options of a network are not for an export, which has its own")
        _require_one_export(path)
        _require_target(path, to)
        written = write_bundle(path, out_dir, wanted, nn_archive=nn_archive)
    else:
        options = {"int8": int8, "rewrite": rewrite, "limit": limit}
        written = _export_first(request, to, out_dir, wanted, nn_archive, options)
    if json:
        return print_json(written.to_dict())
    rows = [[name, (written.folder / name).stat().st_size] for name in written.files]
    print_table(str(written.folder), ["file", "bytes"], rows)
    out.print(f"{out_dir}/README.md says what to copy and what to run there", soft_wrap=True)


def _require_one_export(path: Path) -> None:
    """Not a folder of several."""
    from ..export.results.folder import MANIFEST

    if path.is_dir() and not (path / MANIFEST).exists():
        below = sorted(file.parent for file in path.rglob(MANIFEST))
        if below:
            raise EdgearkError(f"{path} holds {len(below)} exports: name one, as {below[0]}")


def _require_target(export: Path, to: str | None) -> None:
    """The export's target is the one that was asked for."""
    from ..export.verify import reopen

    if to is not None and (found := reopen(export).target.full_name) != to.strip().lower():
        raise EdgearkError(f"{export} is an export to {found}, not to {to}: leave out --to")


def _export_first(
    request: NetworkRequest,
    to: str | None,
    folder: Path,
    languages: list[str],
    nn_archive: bool,
    options: dict[str, Any],
) -> Bundle:
    """Export a network, and write the bundle of that; ``options`` are the export's."""
    from ..export.bundle.write import require_new_folder, require_program, write_bundle
    from ..export.pipeline import export_request
    from ..export.targets import find_targets

    model = str(request.network)
    if to is None:
        raise EdgearkError(f"which target for {model}? --to onnxruntime, --to rknn:rk3588 ...")
    target, *others = find_targets(to)
    if others:
        raise EdgearkError(f"a bundle is for one target, not for {to}")
    require_new_folder(folder)
    require_program(target, languages, nn_archive=nn_archive)
    with scratch_folder("bundle") as scratch, working() as say:
        rows = export_request(request, to, out=Path(scratch), on_step=say, **options)
        row = rows[-1]  # int8 where it was asked for, after the floats
        if row.status not in ("ok", "inconclusive", "failed") or row.artifact is None:
            raise EdgearkError(f"{model} to {row.target} {row.precision}: {row.message}")
        if row.status == "failed":
            err.print(f"{row.target} {row.precision} failed: {row.message}", soft_wrap=True)
            raise typer.Exit(1)
        return write_bundle(row.artifact, folder, languages, nn_archive=nn_archive)
