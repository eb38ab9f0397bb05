"""A network as the static graphs that converters read: ONNX at a requested opset, and TorchScript.

The dynamo exporter writes the cleaner graph and serves opset 16 and up; the TorchScript exporter is
kept, here alone, for toolchains that want 15 or less. Asked for an opset that it cannot write, the
dynamo exporter silently writes 18, so what was written is always checked.
"""

from __future__ import annotations

import ast
import copy
import functools
import logging
import threading
import time
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from ...errors import EdgearkError
from ...zoo.spec import ModelSpec
from ...zoo.tasks.images import network_inputs
from .adaptive_pools import ADAPTIVE_POOLS
from .ceil_mode import settle_ceil_mode
from .network import Network, capture_network, export_program
from .program_sigmoids import read_written_sigmoids
from .trace_forms import plain_forms
from .written_sigmoids import read_written_activations

INPUT_NAME = "input"
_DYNAMO_OPSETS = range(16, 21)
_TORCHSCRIPT_OPSETS = range(9, 16)
_SCOPES_KEY = "pkg.torch.onnx.name_scopes"


class GraphError(EdgearkError):
    """The network cannot be written as a static graph."""


class Graph:
    """One network in evaluation mode, and the files made of it so far.

    Args:
        model: an ``nn.Module`` that returns one tensor or several.
        spec: how it is fed.
        folder: where the files go; a file is made once, on first request.
    """

    def __init__(self, model: nn.Module, spec: ModelSpec, folder: Path) -> None:
        self.model = model.eval()
        self.spec = spec
        self.folder = folder.resolve()
        self._lock = threading.RLock()  # PyTorch's exporters run one at a time
        self._clock = threading.local()
        self._examples = tuple(torch.zeros(shape) for shape in spec.input_shapes)

    def onnx(self, opset: int = 18) -> Path:
        """A static ONNX file, batch 1, batch normalisation folded, weights inside the file."""
        path = self.folder / f"model-opset{opset}.onnx"
        with self._timed():
            if not path.exists():
                write_onnx(self.model, self._examples, path, opset, self.spec.input_names)
        return path

    def onnx_of_any_opset(self) -> Path:
        """A static ONNX file for runtimes that read every opset.

        The TorchScript exporter writes it in a fiftieth of the dynamo exporter's time, imports
        included (0.1 s against 5 s for a digit network). Where it fails, or leaves sizes to be
        computed at run time, as it does for resizing, the dynamo exporter takes over.
        """
        try:
            path = self.onnx(_TORCHSCRIPT_OPSETS[-1])
        except GraphError:
            return self.onnx()
        nodes = onnx.load(path, load_external_data=False).graph.node
        return self.onnx() if any(node.op_type == "Shape" for node in nodes) else path

    def torchscript(self, frozen: bool = True) -> Path:
        """A TorchScript trace: static, in evaluation mode.

        Frozen, its weights are constants and batch normalisation is folded. Unfrozen it is what
        ``torch.jit.trace`` makes, with a module tree, which is what old converters know.
        """
        path = self.folder / ("model.torchscript.pt" if frozen else "model.trace.pt")
        with self._timed():
            if not path.exists():
                self._trace(path, frozen)
        return path

    def program(self) -> Path:
        """torch.export's program in a file, which the same release of PyTorch reads."""
        path = self.folder / "model.pt2"
        with self._timed():
            if not path.exists():
                with torch.no_grad(), _said_in_a_line("cannot be captured by torch.export"):
                    program = torch.export.export(self.model, self._examples)
                    read_written_sigmoids(program)
                    torch.export.save(program, path)
        return path

    def variant(self, name: str, model: nn.Module) -> Graph:
        """The graph of another form of the network, which takes turns with this one.

        Args:
            name: of that form; the same name always stands for the same one.
            model: takes and gives tensors of the same shapes.
        """
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        other = Graph(model, self.spec, folder)
        other._lock, other._clock = self._lock, self._clock
        return other

    def with_sizes_as_numbers(self) -> Graph:
        """This network as torch.export captures it: what it computes from ``x.shape`` is constant.

        A trace computes it anew, which not every converter can follow; it has lost its modules.

        Raises:
            LintError: it cannot be captured.
        """
        with self._timed():
            program = export_program(self.model, *self.spec.input_shapes)
            return self.variant("sizes-as-numbers", _Captured(program.module()))

    @property
    def network(self) -> Network:
        """The operators as the linter's rules see them."""
        with self._timed():
            return self._network

    @functools.cached_property
    def output_shapes(self) -> list[tuple[int, ...]]:
        """``(1, ...)`` of each output, in the network's order."""
        return [a.shape for a in self.reference(blank_samples(self.spec, 1))]

    @property
    def seconds(self) -> float:
        """What this thread has spent on files that serve several targets, or waited for them."""
        return getattr(self._clock, "seconds", 0.0)

    @functools.cached_property
    def _network(self) -> Network:
        return capture_network(self.model, *self.spec.input_shapes)

    @torch.no_grad()
    def _trace(self, path: Path, frozen: bool) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated; converters need it still
            with _said_in_a_line("cannot be traced"), plain_forms():
                traced = torch.jit.trace(self.model, self._examples)
            torch.jit.save(torch.jit.freeze(traced) if frozen else traced, path)
            _drop_stack_traces(path)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            with self._lock:
                yield
        finally:
            self._clock.seconds = self.seconds + time.perf_counter() - start

    def reference(self, images: np.ndarray, batch: int = 250) -> list[np.ndarray]:
        """PyTorch's own answer in float32: raw ``[N, C, H, W]`` 0..255 in, one array an output."""
        return run_pytorch(self.model, self.spec, images, batch)

    def half_reference(self, images: np.ndarray) -> list[np.ndarray]:
        """PyTorch's answer where weights and activations are float16, as float32.

        Raises:
            RuntimeError: an operator has no kernel for it on this machine.
        """
        model = copy.deepcopy(self.model).half()
        chunks = []
        with torch.inference_mode():
            for index in range(len(images)):
                inputs = network_inputs(images[index : index + 1], self.spec.mean, self.spec.std)
                answer = model(*(torch.from_numpy(x).half() for x in inputs))
                answers = answer if isinstance(answer, (tuple, list)) else (answer,)
                chunks.append([a.float().numpy() for a in answers])
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


class _Captured(nn.Module):
    """What torch.export makes of a network, which is in evaluation mode and refuses to be asked."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        for each in self.modules():
            each.training = False

    def train(self, mode: bool = True) -> _Captured:
        return self

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.module(*inputs)


@torch.inference_mode()
def run_pytorch(
    model: nn.Module, spec: ModelSpec, images: np.ndarray, batch: int = 250
) -> list[np.ndarray]:
    """A network's answers to raw samples: one float32 array an output.

    Args:
        model: in evaluation mode.
        spec: how it is fed.
        images: raw images, uint8 ``[N, C, H, W]``, or records; see :func:`network_inputs`.
        batch: so many at a time, where the network's batch is not fixed.
    """
    chunks: list[tuple[np.ndarray, ...]] = []
    for start in range(0, len(images), batch):
        inputs = network_inputs(images[start : start + batch], spec.mean, spec.std)
        answer = model(*map(torch.from_numpy, inputs))
        answers = answer if isinstance(answer, (tuple, list)) else (answer,)
        chunks.append(tuple(a.numpy() for a in answers))
    return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]


def _drop_stack_traces(path: Path) -> None:
    """Take each line's origin out of a TorchScript file: it names this machine's folders.

    Nothing is lost but the trace of an error; PyTorch 1.6 dies of the newer notes.
    """
    clean = path.with_suffix(".clean")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(clean, "w") as new:
        for entry in old.infolist():
            if not entry.filename.endswith(".debug_pkl"):
                new.writestr(entry, old.read(entry))
    clean.replace(path)


def blank_samples(spec: ModelSpec, count: int) -> np.ndarray:
    """Samples of nothing: black images, or records of zeros."""
    if not spec.inputs:
        return np.zeros((count, *spec.input_shape[1:]), np.uint8)
    return np.zeros(count, sample_type(spec))


def sample_type(spec: ModelSpec) -> np.dtype:
    """The type of a record of a network that takes no image."""
    return np.dtype([(each.name, np.float32, each.shape[1:]) for each in spec.inputs])


def write_onnx(
    model: nn.Module,
    examples: Sequence[torch.Tensor],
    path: Path,
    opset: int,
    input_names: Sequence[str] = (INPUT_NAME,),
) -> None:
    """Export ``model`` and check that the file is what was asked for.

    Raises:
        GraphError: the opset is outside 9..20, or the exporter rejects the network.
    """
    if opset in _DYNAMO_OPSETS:
        dynamo = True
    elif opset in _TORCHSCRIPT_OPSETS:
        dynamo = False
    else:
        raise GraphError(f"opset {opset} cannot be written; 9 to 20 can")
    outputs = _output_names(model, examples)
    try:
        with (
            torch.no_grad(),
            _quiet_exporter(),
            _said_in_a_line(f"cannot be exported at opset {opset}"),
        ):
            torch.onnx.export(
                model,
                tuple(examples),
                str(path),
                opset_version=opset,
                input_names=list(input_names),
                output_names=outputs,
                dynamo=dynamo,
                custom_translation_table=ADAPTIVE_POOLS if dynamo else None,
                verbose=False,
                external_data=False,
            )
    except GraphError:
        path.unlink(missing_ok=True)
        raise
    proto = onnx.load(path)
    written = proto.opset_import[0].version
    if written != opset:
        path.unlink()
        raise GraphError(f"asked for opset {opset}, the exporter wrote {written}")
    _clean(proto)
    proto = read_written_activations(settle_ceil_mode(proto))
    onnx.checker.check_model(proto)
    onnx.save(onnx.shape_inference.infer_shapes(proto), path)


def output_names(model: nn.Module, count: int) -> list[str]:
    """The names of a network's outputs: its own, where it has any, else ``output0`` and so on."""
    names: Sequence[str] = getattr(model, "output_names", ())
    if len(names) == count:
        return list(names)
    return ["output"] if count == 1 else [f"output{index}" for index in range(count)]


@contextmanager
def _said_in_a_line(what: str) -> Iterator[None]:
    """Whatever an exporter raises as a :class:`GraphError`: it runs the network's own code.

    Under a trace, sizes are tensors, and a check of them in PyTorch's own layers (``MaxUnpool2d``)
    raises TypeError; a network's may raise anything.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:  # the exporter wraps what it could not convert
            cause = cause.__cause__
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        raise GraphError(f"the network {what}: {lines[0]}") from error


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without its remarks: what it wrote is checked.

    The TorchScript exporter turns its log on whether asked to or not, and prints a network that it
    refuses to stdout, into the middle of a JSON document.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    turn_on = torch._C._jit_set_onnx_log_enabled
    torch._C._jit_set_onnx_log_enabled = lambda enabled: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._C._jit_set_onnx_log_enabled = turn_on
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


@torch.no_grad()
def _output_names(model: nn.Module, examples: Sequence[torch.Tensor]) -> list[str]:
    answer = model(*examples)
    return output_names(model, len(answer) if isinstance(answer, (tuple, list)) else 1)


def _clean(proto: onnx.ModelProto) -> None:
    """Name the nodes after their modules, and drop the exporter's notes (they hold local paths)."""
    taken: dict[str, int] = {}
    for node in proto.graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        if _SCOPES_KEY in notes:
            scopes = ast.literal_eval(notes[_SCOPES_KEY])[:-1]
            name = f"{scopes[-1] if scopes else ''}/{node.op_type}".lstrip("/")
            taken[name] = taken.get(name, 0) + 1
            node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        del node.metadata_props[:]
    for value in (*proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
    for tensor in proto.graph.initializer:
        del tensor.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.metadata_props[:]
