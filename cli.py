"""The command line. A command parses, calls one function, prints.

Exit status: 0 done, 1 a check failed, 2 bad usage or bad input (one line; ``--debug`` shows more).
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from . import __version__
from .console import err, log_to_stderr, out, print_json, print_table, working
from .errors import EdgearkError
from .settings import go_offline
from .tables import print_model, print_rows, print_targets

app = typer.Typer(
    name="edgeark",
    help="A PyTorch model zoo whose models are proven to run on the chip.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
ModelName = Annotated[str, typer.Argument(help="A name that `edgeark models` lists.")]
DataDir = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads the annotation at run time, on Python 3.10 too)
    typer.Option("--data", help="Folder of the data set. Default: $EDGEARK_DATA, ../shared/data."),
]
WeightsFile = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--weights", help="A safetensors file. Default: the weights that ship."),
]
Int8Flag = Annotated[bool, typer.Option("--int8", help="Quantise as well, where the target can.")]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--limit", min=1, help="At most this many test pictures."),
]
OfflineFlag = Annotated[bool, typer.Option("--offline", help="Never touch the network.")]


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


@app.command()
def models(json: JsonFlag = False) -> None:
    """List the models of the zoo."""
    from .zoo import list_models, model_entry
    from .zoo.weights import packaged_weights

    specs = [(name, model_entry(name).spec) for name in list_models()]
    if json:
        rows = [
            {"name": n, "trained": packaged_weights(n).exists(), **s.to_dict()} for n, s in specs
        ]
        return print_json(rows)
    rows = [
        [n, s.task, f"{s.in_channels}x{s.input_size[0]}x{s.input_size[1]}", s.description,
         "yes" if packaged_weights(n).exists() else "no"]
        for n, s in specs
    ]  # fmt: skip
    print_table("models", ["name", "task", "input", "what", "trained"], rows)


@app.command()
def info(model: ModelName, json: JsonFlag = False) -> None:
    """Say what a model is, what it costs and how it is fed."""
    from .zoo import create_model, spec_of
    from .zoo.stages import measure_stages
    from .zoo.summary import summarize
    from .zoo.weights import packaged_weights, read_header

    network = create_model(model)
    summary = summarize(network)
    weights = packaged_weights(model)
    trained = read_header(weights) if weights.exists() else {}
    document = {
        "name": model,
        **spec_of(network).to_dict(),
        **asdict(summary),
        "stages": [asdict(stage) for stage in measure_stages(network)],
        "weights": str(weights) if weights.exists() else None,
        "trained": trained,
    }
    if json:
        return print_json(document)
    print_model(document)


@app.command()
def targets(json: JsonFlag = False) -> None:
    """List the targets, what proves an export to them, and whether they are installed."""
    from .export.targets import find_target, list_targets

    rows = []
    for name in list_targets():
        target = find_target(name)
        chain = target.toolchain
        installed = chain is None or chain.is_installed()
        rows.append(
            {
                "target": name,
                "description": target.description,
                "evidence": target.evidence.value,
                "precisions": list(target.supported_precisions()),
                "installed": installed,
                "versions": target.versions(),
                "download_mb": 0 if installed or chain is None else chain.download_mb,
            }
        )
    if json:
        return print_json(rows)
    print_targets(rows)


@app.command()
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
    from .training.config import load_recipe
    from .training.distributed import is_first_process
    from .training.progress import Progress
    from .training.scripts import train as run_training

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


@app.command(name="eval")
def evaluate(
    model: ModelName,
    on: Annotated[str, typer.Option("--on", help="Targets, comma-separated; also pytorch.")] = (
        "pytorch"
    ),
    int8: Int8Flag = False,
    weights: WeightsFile = None,
    data: DataDir = None,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Measure a model's metric on its test data, in PyTorch or on targets."""
    from .export.evaluate import evaluate_model

    if offline:
        go_offline()
    with working() as say:
        rows = evaluate_model(
            model, on, int8=int8, weights=weights, data=data, limit=limit, on_step=say
        )
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        print_rows("evaluation", rows)
    raise typer.Exit(0 if all(row.status == "ok" for row in rows) else 1)


@app.command()
def export(
    model: ModelName,
    to: Annotated[str, typer.Option("--to", help="Targets, comma-separated.")],
    int8: Int8Flag = False,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the exports.")] = Path(
        "exports"
    ),
    weights: WeightsFile = None,
    data: DataDir = None,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Convert a model, run it on each target and compare it with PyTorch."""
    from .export.pipeline import export_model

    if offline:
        go_offline()
    with working() as say:
        rows = export_model(
            model,
            to.split(","),
            int8=int8,
            out=out_dir,
            weights=weights,
            data=data,
            limit=limit,
            on_step=say,
        )
    if json:
        print_json([row.to_dict() for row in rows])
    else:
        print_rows("exports", rows)
    raise typer.Exit(0 if all(row.status == "ok" for row in rows) else 1)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help=".pt, .pth, .safetensors, .npz, .pkl (arrays).")],
    model: Annotated[str, typer.Option("--as", help="The model that the file is.")],
    out_file: Annotated[Path, typer.Option("--out", help="The safetensors file to write.")],
    act: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Activation, where the file does not say it: silu, relu ..."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Turn weights of another origin into ours; no code in the file is run."""
    from .zoo import save_weights, spec_of
    from .zoo.importers import import_weights

    if out_file.suffix != ".safetensors":
        raise EdgearkError(f"--out {out_file}: weights are written as .safetensors")
    taken = import_weights(file, model, act=act)
    spec = spec_of(taken.model)
    epoch = {} if taken.epoch is None else {"epoch": taken.epoch}
    facts = {"origin": taken.origin, "part": taken.part, **epoch}
    save_weights(taken.model, out_file, {key: str(value) for key, value in facts.items()})
    document = {
        "model": model,
        "file": str(file),
        **facts,
        "parameters": sum(p.numel() for p in taken.model.parameters()),
        "classes": spec.classes,
        "anchors": spec.anchors,
        "mean": spec.mean,
        "std": spec.std,
        **spec.arguments,
        "assumed": taken.assumed,
        "weights": str(out_file),
    }
    if json:
        return print_json(document)
    rows = [[k, ", ".join(map(str, v)) if isinstance(v, tuple) else v] for k, v in document.items()]
    print_table(f"{file.name} as {model}", ["what", "value"], [r for r in rows if r[1] != ""])


@app.command()
def run(
    artifact: Annotated[Path, typer.Argument(help="A file that a target runs: .kmodel (v3).")],
    picture: Annotated[Path, typer.Option("--input", help="A picture file, of any size.")],
    json: JsonFlag = False,
) -> None:
    """Run an exported file on a picture and print what it answers."""
    from .export.run import run_artifact

    outputs = run_artifact(artifact, picture)
    if json:
        return print_json({"outputs": [output.tolist() for output in outputs]})
    rows = [
        [i, "x".join(map(str, o.shape)), str(o.dtype), float(o.min()), float(o.max()),
         int(o.argmax()), ", ".join(f"{v:.4g}" for v in o.ravel()[:5])]
        for i, o in enumerate(outputs)
    ]  # fmt: skip
    columns = ["output", "shape", "type", "least", "greatest", "index of it", "first values"]
    print_table(artifact.name, columns, rows)


@app.command()
def bundle(
    export: Annotated[Path, typer.Argument(help="An exported kmodel v3, or its folder.")],
    out_dir: Annotated[Path, typer.Option("--out", help="The bundle: a new folder.")],
    json: JsonFlag = False,
) -> None:
    """Write what a K210 board with MaixPy v1 needs: kmodel, main.py, README."""
    from .export.bundles.maixpy import write_maixpy_bundle

    written = write_maixpy_bundle(export, out_dir)
    if json:
        return print_json({**asdict(written), "folder": str(written.folder)})
    rows = [[name, (written.folder / name).stat().st_size] for name in written.files]
    print_table(str(written.folder), ["file", "bytes"], rows)


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The project: a new folder.")],
    template: Annotated[str, typer.Option(help="mnist, vgg, mobilenet, unet or yolov5.")],
    example: Annotated[
        bool, typer.Option("--example", help="With generated pictures, to try it at once.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Write a project of your own: recipe, network, train.py, export.py, README."""
    from .projects.create import create_project

    project = create_project(folder, template, example)
    if json:
        return print_json({**asdict(project), "folder": str(project.folder)})
    rows = [[name, (project.folder / name).stat().st_size] for name in project.files]
    print_table(str(project.folder), ["file", "bytes"], rows)
    out.print(f"{folder / 'README.md'} says what to run", soft_wrap=True)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the demo.")] = Path("demo"),
    data: DataDir = None,
    limit: LimitOption = None,
    offline: OfflineFlag = False,
    json: JsonFlag = False,
) -> None:
    """Export both digit networks to six targets, prove each, and write a report with pictures."""
    from .export.demo import announce, run_demo

    if offline:
        go_offline()
    for line in announce(data):
        err.print(line, highlight=False, soft_wrap=True)
    with working() as say:
        result = run_demo(out_dir, data=data, limit=limit, on_step=say)
    if json:
        print_json({"rows": [r.to_dict() for r in result.rows], "report": str(result.report)})
    else:
        print_rows("demo", result.rows)
        out.print(f"report: {result.report}", soft_wrap=True)
    raise typer.Exit(0 if all(r.status in ("ok", "unavailable") for r in result.rows) else 1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every mistake of the user's ends in one line and status 2.

    Args:
        arguments: by default those of the process.
    """
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    log_to_stderr()
    try:
        app([argument for argument in given if argument != "--debug"])
    except (EdgearkError, OSError) as error:
        if debug:
            raise
        message = " ".join(str(error).split())
        if getattr(error, "errno", None) == errno.ENOSPC:
            message += ": make room, or write elsewhere with --out"
        err.print(f"error: {message}", highlight=False, soft_wrap=True, markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
