"""Commands that train, or begin a project that does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from .console import err, out, print_json, print_table
from .options import DataDir, JsonFlag


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a TOML file.")],
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", help="Folder of the run. Default: runs/<model>-seed<seed>."),
    ] = None,
    data: DataDir = None,
    dataset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Another data set than the recipe's: image_folder, mask_folder ..."),
    ] = None,
    epochs: Annotated[Optional[int], typer.Option(min=1)] = None,  # noqa: UP045
    batch_size: Annotated[Optional[int], typer.Option(min=2)] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(min=0)] = None,  # noqa: UP045
    weights: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--weights", help="Begin with these weights. Default: random ones."),
    ] = None,
    qat: Annotated[
        Optional[Literal["int8", "k210"]],  # noqa: UP045
        typer.Option(
            help="Fine-tune --weights under the rounding of targets: k210, int8 (others)."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last epoch.")] = False,
    json: JsonFlag = False,
) -> None:
    """Train a model by its recipe, on its data set or, with --dataset and --data, on your own."""
    from ..training.config import load_recipe
    from ..training.distributed import is_first_process
    from ..training.progress import Progress
    from ..training.scripts import train as run_training

    changes = {"epochs": epochs, "batch_size": batch_size, "seed": seed, "dataset": dataset}
    if dataset is not None:
        changes["val_size"] = 0  # the recipe's is for its own data set; 0 is a fitting share
    chosen = load_recipe(recipe, **changes)
    folder = out_dir or Path("runs") / f"{chosen.model}-seed{chosen.seed}"
    if scheme := qat or chosen.qat.scheme:
        chosen = chosen.for_qat(scheme, epochs)
        folder = out_dir or folder.with_name(f"{folder.name}-{scheme}")
    report = run_training(
        chosen,
        folder,
        data=data,
        weights=weights,
        resume=resume,
        progress=Progress(enabled=err.is_terminal),
    )
    if not is_first_process():
        return
    if json:
        print_json(report.to_dict())
    else:
        out.print(report.describe())
    if report.interrupted:
        kept = f"{folder} is kept: go on with the same command and --resume"
        err.print(f"interrupted; {kept if report.epochs else 'no epoch was complete'}")
        raise typer.Exit(130)
    if epochs is None and dataset is None and not report.reached:
        err.print(f"below the recipe's target of {chosen.target_metric}")
        raise typer.Exit(1)


def new(
    folder: Annotated[Path, typer.Argument(help="The project: a new folder.")],
    template: Annotated[str, typer.Option(help="mnist, vgg, mobilenet, unet or yolov5.")],
    example: Annotated[
        bool, typer.Option("--example", help="With generated images, to try it at once.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write a project of your own: recipe, network, train.py, export.py, README."""
    from ..projects.create import create_project

    project = create_project(folder, template, example)
    if json:
        return print_json({**asdict(project), "folder": str(project.folder)})
    rows = [[name, (project.folder / name).stat().st_size] for name in project.files]
    print_table(str(project.folder), ["file", "bytes"], rows)
    out.print(f"{folder / 'README.md'} says what to run", soft_wrap=True)
