"""One way in for every network: what a user names becomes a :class:`Source`."""

from __future__ import annotations

import logging
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...core.catalog import HUBS, NETWORK_FILES, packaged_weights
from ...core.settings import trusts_files
from ...errors import SourceError
from ...zoo.registry import create_model, list_models, model_entry
from ...zoo.spec import ModelSpec, spec_of
from ...zoo.weights import WeightsError
from ..graph.program_file import check_program, tensors_alone
from ..graph.torchscript_file import check_torchscript
from .factory import make_network
from .network import FlatOutputs, Source, safe_name
from .shapes import InputOptions, make_spec, parse_shapes, without_batch
from .weights_file import load_into

logger = logging.getLogger(__name__)


def open_source(
    named: str | Path | nn.Module,
    inputs: InputOptions | None = None,
    *,
    weights: Path | None = None,
    pretrained: bool = False,
) -> Source:
    """The network that a user names.

    Args:
        named: a model of the zoo; ``file.py:factory`` or ``package.module:factory``; ``timm:NAME``
            or ``torchvision:NAME``; a file: ``.onnx``, TorchScript ``.pt``, ``torch.export``
            ``.pt2``; or a module.
        inputs: what is known of its inputs beyond what it says itself.
        weights: a weights file for it.
        pretrained: load the published weights of timm's and torchvision's networks.

    Raises:
        SourceError: there is no such network, or it cannot be made; one line says what to do.
        ModelError: no such model of the zoo.
    """
    options = inputs or InputOptions()
    if isinstance(named, nn.Module):
        return _own(type(named).__name__, named, options, {}, weights)
    text = str(named)
    hub, separator, name = text.partition(":")
    if separator and hub in HUBS:
        from .hubs import make_timm, make_torchvision

        model, facts = (make_timm if hub == "timm" else make_torchvision)(name, pretrained)
        return _own(name.replace("/", "_"), model, options, facts, weights)
    if separator and not Path(text).exists():
        model = make_network(text)
        return _own(Path(text.rpartition(":")[2]).name, model, options, {}, weights)
    if Path(text).suffix.lower() in NETWORK_FILES:
        return _open_file(Path(text), options, weights)
    if text not in list_models() and Path(text).exists():
        raise SourceError(
            f"{text} is no network: name FILE.py:FACTORY, an .onnx, a TorchScript .pt or a .pt2"
        )
    return _of_the_zoo(text, options, weights)


def _of_the_zoo(name: str, options: InputOptions, weights: Path | None) -> Source:
    model_entry(name)  # an unknown name is said before anything is read
    _require_unsaid(name, options)
    arguments: dict[str, Any] = {}
    if options.shapes is not None:
        (shape,) = parse_shapes(options.shapes).values()
        if len(shape) != 3:
            raise SourceError(f"--input-shape {options.shapes}: {name} takes CxHxW, as 3x224x224")
        arguments = {"in_channels": shape[0], "input_size": shape[1:]}
    if weights is not None or packaged_weights(name).exists():
        try:
            model = create_model(name, pretrained=True, weights=weights, **arguments)
            return Source(name, model.eval(), spec_of(model))
        except WeightsError as error:
            if weights is not None:
                raise
            logger.warning("%s: random weights in place of those that ship: %s", name, error)
    model = create_model(name, **arguments)
    return Source(name, model.eval(), replace(spec_of(model), dataset=""))


def _require_unsaid(name: str, options: InputOptions) -> None:
    """A network with a spec of its own is fed as that says."""
    if said := options.about_images:
        raise SourceError(f"{name} says itself how it is fed: leave {', '.join(said)} out")


def _open_file(path: Path, options: InputOptions, weights: Path | None) -> Source:
    if not path.is_file():
        raise SourceError(f"there is no file {path}")
    if weights is not None:
        raise SourceError(f"--weights is for networks made by code: {path.name} has its own")
    kind = path.suffix.lower()
    if kind == ".onnx":
        from .onnx_source import open_onnx

        return open_onnx(path, options)
    if kind == ".pt2":
        return _open_program(path, options)
    return _open_torchscript(path, options)


def _open_program(path: Path, options: InputOptions) -> Source:
    """A program of ``torch.export.save``; it holds its own input shapes."""
    if not zipfile.is_zipfile(path):  # torch would print its stack
        raise SourceError(f"{path} is not a torch.export program: it is cut off, or something else")
    trusted = trusts_files()
    if not trusted:
        check_program(path)
    try:
        with nullcontext() if trusted else tensors_alone():
            program = torch.export.load(path)
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise SourceError(f"{path} is not a torch.export program: {said}") from error
    metas = [
        node.meta["val"]
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs
    ]
    names = list(program.graph_signature.user_inputs)
    shapes = {
        name: tuple(int(side) for side in meta.shape[1:])
        for name, meta in zip(names, metas, strict=True)
    }
    if any(meta.shape[0] != 1 for meta in metas):
        raise SourceError(f"{path}: its inputs have no batch of 1; export it with one")
    facts: dict[str, Any] = {"shapes": shapes}
    model = program.module()
    return _own(path.stem, _NoModes(model), options, facts, None)


class _NoModes(nn.Module):
    """An exported program has no training mode to leave, and says so by an error."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.program(*inputs)

    def train(self, mode: bool = True) -> _NoModes:
        self.training = mode
        return self


def _open_torchscript(path: Path, options: InputOptions) -> Source:
    kind = _kind_of_archive(path)
    if kind != "torchscript":
        raise SourceError(
            f"{path} holds {kind}, and no program: name the code that makes the network, "
            f"FILE.py:FACTORY --weights {path.name}; or save torch.jit.trace or torch.export's"
        )
    if not trusts_files():
        check_torchscript(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
            model = torch.jit.load(path, map_location="cpu")
    except Exception as error:
        said = " ".join(str(error).split())[:200]
        raise SourceError(f"{path} is not a TorchScript file: {said}") from error
    source = replace(_own(path.stem, model, options, {}, None), reference="torchscript")
    try:
        from .torchscript_source import through_onnx

        return through_onnx(source)
    except SourceError as error:  # TorchScript's own target takes it all the same
        logger.info("%s", error)
        return source


def _kind_of_archive(path: Path) -> str:
    """What torch put into the file, by the names inside; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return "no archive of PyTorch's (truncated, or of a release before 1.6)"
    if any("/code/" in name for name in names):
        return "torchscript"
    return "pickled weights or a pickled module"


def _own(
    name: str,
    model: nn.Module,
    options: InputOptions,
    facts: Mapping[str, Any],
    weights: Path | None,
) -> Source:
    if weights is not None:
        load_into(model, weights)
    name, model = safe_name(name), model.eval()
    flat, spec = _fit_shapes(model, _specs_of(name, model, options, facts))
    chosen: nn.Module = model if flat.is_single else flat
    chosen.spec = spec  # type: ignore[assignment]
    chosen.name = name  # type: ignore[assignment]
    return Source(name, chosen, spec)


def _fit_shapes(model: nn.Module, specs: Sequence[ModelSpec]) -> tuple[FlatOutputs, ModelSpec]:
    """The first reading of the shapes that the network takes.

    Raises:
        SourceError: it takes none; the first reading's error.
    """
    first: SourceError | None = None
    for spec in specs:
        try:
            return FlatOutputs(model, [torch.zeros(shape) for shape in spec.input_shapes]), spec
        except SourceError as error:
            first = first or error
    assert first is not None
    raise first


def _specs_of(
    name: str, model: nn.Module, options: InputOptions, facts: Mapping[str, Any]
) -> list[ModelSpec]:
    """How the network may be fed: by what it says itself, then by what the user says.

    A leading 1 of ``1x1x2500`` is the batch or a side: both are tried, the likelier first.
    """
    own = getattr(model, "spec", None)
    if isinstance(own, ModelSpec) and options.shapes is None:
        _require_unsaid(name, options)
        return [own]
    shapes = parse_shapes(options.shapes) if options.shapes else facts.get("shapes")
    if shapes is None and "shape" in facts:
        shapes = {"input": tuple(facts["shape"])}
    if isinstance(options.shapes, Mapping):  # nothing to guess
        return [make_spec(name, shapes or {}, options, facts)]
    if not shapes:
        raise SourceError(f"{name}: say the shape of its input, as --input-shape 3x224x224")
    readings = [
        {each: without_batch(shape) for each, shape in shapes.items()},
        {each: tuple(shape) for each, shape in shapes.items()},
        {each: shape[1:] if shape[0] == 1 else shape for each, shape in shapes.items()},
    ]
    distinct = [reading for i, reading in enumerate(readings) if reading not in readings[:i]]
    return [make_spec(name, reading, options, facts) for reading in distinct]
