"""Commands that train, or begin a project that does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from ..errors import EdgearkError
from .console import err, out, print_json, print_table
from .data import IgnoreOption
from .options import DataDir, JsonFlag

if TYPE_CHECKING:
    from ..training.scripts import TrainingReport


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
    pretrained: Annotated[
        str,
        typer.Option(
            help="Features to begin with: auto (those that ship for the network, on data of your "
            "own), none, a model's name, or a file (.safetensors, YOLOv5's .pt)."
        ),
    ] = "auto",
    size: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--size", help="The network's input, as 128 or 96x160 (height x width)."),
    ] = None,
    ignore: IgnoreOption = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda", "mps"], typer.Option(help="Where to train.")
    ] = "auto",
    log: Annotated[
        str,
        typer.Option(
            help="Where the figures of every epoch go: csv, tensorboard, mlflow, wandb; several "
            "with commas."
        ),
    ] = "csv,tensorboard",
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
    from ..training.logs import parse_logs
    from ..training.progress import Progress
    from ..training.scripts import train as run_training

    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "dataset": dataset,
        "ignore": ignore,
        "pretrained": pretrained,
    }
    if epochs is not None:
        changes["min_steps"] = 0  # the user decides
    if dataset is not None:
        changes["val_size"] = 0  # the recipe's is for its own data set; 0 is a fitting share
    chosen = load_recipe(recipe, **changes)
    if size is not None:
        chosen = chosen.with_input_size(parse_size(size))
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
        progress=Progress(),
        device=device,
        log=parse_logs(log),
    )
    if not is_first_process():
        return
    if json:
        print_json(report.to_dict())
    else:
        out.print(report.describe())
    if report.interrupted:
        err.print(_interrupted(report, folder), soft_wrap=True, highlight=False)
        raise typer.Exit(130)
    if epochs is None and dataset is None and not report.reached:
        err.print(f"below the recipe's target of {chosen.target_metric}")
        raise typer.Exit(1)


def recipes(json: JsonFlag = False) -> None:
    """List the recipes that ship: what they train, on what, how long and how well."""
    from ..training.config import list_recipes, load_recipe

    found = {name: load_recipe(name) for name in list_recipes()}
    if json:
        return print_json([{"name": n, **r.model_dump(mode="json")} for n, r in found.items()])
    rows = [
        [n, r.model, r.dataset, r.epochs, r.batch_size, f"{100 * r.target_metric:g} %"]
        for n, r in found.items()
    ]
    print_table("recipes", ["name", "model", "data set", "epochs", "batch", "aim"], rows)


def parse_size(text: str) -> tuple[int, int]:
    """``128`` or ``96x160`` as height and width.

    Raises:
        EdgearkError: it is neither.
    """
    parts = text.lower().split("x")
    if not all(part.isdigit() and int(part) > 0 for part in parts) or len(parts) > 2:
        raise EdgearkError(f"--size {text}: a side as 128, or height and width as 96x160")
    return int(parts[0]), int(parts[-1])


def _interrupted(report: TrainingReport, folder: Path) -> str:
    if not report.epochs:
        return f"interrupted in the first epoch: nothing was kept; {folder} can be removed"
    return (
        f"interrupted in epoch {report.epochs + 1}: {report.epochs} are complete, the best is "
        f"epoch {report.best_epoch} with a validation {report.metric} of {100 * report.val:.2f} % "
        f"({report.weights}); go on with the same command and --resume"
    )


def new(
    folder: Annotated[Path, typer.Argument(help="The project: a new folder.")],
    template: Annotated[
        str, typer.Option(help="mnist, vgg, mobilenet, unet, yolov5, yolo11 or yolox.")
    ],
    example: Annotated[
        bool, typer.Option("--example", help="With generated images, to try it at once.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write a project of your own: recipe, network, train.py, export.py, bundle.py, README."""
    from ..projects.create import create_project

    project = create_project(folder, template, example)
    if json:
        return print_json({**asdict(project), "folder": str(project.folder)})
    rows = [[name, (project.folder / name).stat().st_size] for name in project.files]
    print_table(str(project.folder), ["file", "bytes"], rows)
    out.print(f"{folder / 'README.md'} says what to run", soft_wrap=True)
