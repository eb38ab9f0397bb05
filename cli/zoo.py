"""Commands about the models themselves: models, info, import."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Optional

import typer

from ..errors import EdgearkError
from .console import print_json, print_table
from .options import JsonFlag, ModelName
from .tables import print_model


def models(json: JsonFlag = False) -> None:
    """List the models of the zoo."""
    from ..zoo import list_models, model_entry
    from ..zoo.weights import packaged_weights

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


def info(model: ModelName, json: JsonFlag = False) -> None:
    """Say what a model is, what it costs and how it is model_input."""
    from ..zoo import create_model, spec_of
    from ..zoo.stages import measure_stages
    from ..zoo.summary import summarize
    from ..zoo.weights import packaged_weights, read_header

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
    from ..zoo import save_weights, spec_of
    from ..zoo.importers import import_weights

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
