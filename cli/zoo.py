"""Commands about the models themselves: models, info, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..core.catalog import packaged_weights, shipped_models, trained_facts
from ..core.messages import format_shape
from ..errors import EdgearkError
from .console import print_json, print_table
from .options import JsonFlag, takes_network
from .tables import print_model

if TYPE_CHECKING:
    from ..export.request import NetworkRequest


def models(json: JsonFlag = False) -> None:
    """List the models of the zoo."""
    found = [
        {"name": name, "trained": packaged_weights(name).exists(), "weights": trained_facts(name)}
        | spec
        for name, spec in shipped_models().items()
    ]
    if json:
        return print_json(found)
    rows = [
        [m["name"], m["task"], format_shape((len(m["mean"]), *m["input_size"])), m["description"],
         _describe_weights(m["weights"])]
        for m in found
    ]  # fmt: skip
    print_table("models", ["name", "task", "input", "what", "trained on"], rows)


def _describe_weights(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "-"
    size = format_shape(facts["input_size"])
    return f"{facts['dataset']}: {len(facts['classes'])} classes, {size}"


@takes_network()
def info(request: NetworkRequest, json: JsonFlag = False) -> None:
    """Say what a network is, what it costs, and how it is fed and read."""
    from ..export.describe import describe_network

    document = describe_network(request)
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
