"""Commands that train, or begin a project that does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from ..errors import EdgearkError
from .console import err, out, print_json, print_table
from .data import IgnoreOption
from .options import DataDir, JsonFlag, RayOption
from .several import parse_seeds, run_several, runner_on, short_names

if TYPE_CHECKING:
    from ..training.config import Recipe
    from ..training.scripts import TrainingReport


def train(
    recipes: Annotated[
        list[str],
        typer.Argument(metavar="RECIPE...", help="A recipe's name, or a TOML file; or several."),
    ],
    out_dir: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            help="Folder of the run, or above several. Default: runs/<model>-seed<seed>.",
        ),
    ] = None,
    data: DataDir = None,
    dataset: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Another data set than the recipe's: image_folder, mask_folder ..."),
    ] = None,
    epochs: Annotated[Optional[int], typer.Option(min=1)] = None,  # noqa: UP045
    batch_size: Annotated[Optional[int], typer.Option(min=2)] = None,  # noqa: UP045
    seed: Annotated[Optional[int], typer.Option(min=0)] = None,  # noqa: UP045
    seeds: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--seeds", help="Train each recipe with several seeds, as 0,1,2."),
    ] = None,
    ray: RayOption = None,
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
    """Train a model by its recipe, on its data set or, with --dataset and --data, on your own.

    Several recipes or --seeds are trained one after another, or side by side with --ray; a table
    compares them.
    """
    from ..training.distributed import is_first_process
    from ..training.logs import parse_logs
    from ..training.progress import Progress
    from ..training.scripts import train as run_training
    from ..training.several import Job

    if seed is not None and seeds is not None:
        raise EdgearkError("--seed names one seed and --seeds several: give one of them")
    each_seed = [seed] if seeds is None else parse_seeds(seeds)
    runner = None if ray is None else runner_on(ray, device)
    changes: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "dataset": dataset,
        "ignore": ignore,
        "pretrained": pretrained,
    }
    logs = parse_logs(log)
    has_aim = epochs is None and dataset is None
    chosen = [
        (name, _choose(named, {**changes, "seed": number}, size, qat))
        for name, named in zip(short_names(recipes), recipes, strict=True)
        for number in each_seed
    ]
    jobs = [
        Job(
            name, recipe, _folder(recipe, out_dir, len(chosen)), data, weights, resume, device, logs
        )
        for name, recipe in chosen
    ]
    if len(jobs) > 1 or seeds is not None or runner is not None:
        raise run_several(jobs, runner, json=json, has_aim=has_aim)
    (job,) = jobs
    report = run_training(
        job.recipe,
        job.out,
        data=data,
        weights=weights,
        resume=resume,
        progress=Progress(),
        device=device,
        log=logs,
    )
    if not is_first_process():
        return
    if json:
        print_json(report.to_dict())
    else:
        out.print(report.describe())
    if report.interrupted:
        err.print(_interrupted(report, job.out), soft_wrap=True, highlight=False)
        raise typer.Exit(130)
    if has_aim and not report.reached:
        err.print(f"below the recipe's target of {job.recipe.target_metric}")
        raise typer.Exit(1)


def _choose(
    named: str, changes: dict[str, Any], size: str | None, qat: Literal["int8", "k210"] | None
) -> Recipe:
    """The recipe with what the command line says."""
    from ..training.config import load_recipe

    if changes["epochs"] is not None:
        changes["min_steps"] = 0  # the user decides
    if changes["dataset"] is not None:
        changes["val_size"] = 0  # the recipe's is for its own data set; 0 is a fitting share
    recipe = load_recipe(named, **changes)
    if size is not None:
        recipe = recipe.with_input_size(parse_size(size))
    scheme = qat or recipe.qat.scheme
    return recipe.for_qat(scheme, changes["epochs"]) if scheme else recipe


def _folder(recipe: Recipe, out_dir: Path | None, count: int) -> Path:
    if out_dir is not None and count == 1:
        return out_dir
    scheme = f"-{recipe.qat.scheme}" if recipe.qat.scheme else ""
    return (out_dir or Path("runs")) / f"{recipe.model}-seed{recipe.seed}{scheme}"


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
