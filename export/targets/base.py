"""The contract of a target: convert a graph, run the artifact on images, say what ran where."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from ...core.messages import format_shape
from ...zoo.spec import ModelSpec
from ...zoo.tasks.images import network_inputs
from ..graph.files import Graph
from ..lint.rule import Rule
from ..toolchains.environment import Toolchain
from .board import BoardRuntime, Bundle
from .names import Group
from .tools import ExternalTool
from .untrusted import run_in_worker

Precision = Literal["float32", "float16", "int8"]


class Evidence(str, Enum):
    """How strongly an export is proven, strongest first; printed beside every claim."""

    ON_DEVICE = "on device"  # a board's own report says that it ran there
    EXECUTED = "executed"  # the real runtime ran it
    SIMULATED = "simulated"  # the vendor's simulator ran it
    MODELLED = "modelled"  # our own bit-exact simulator ran it
    COMPILED = "compiled"  # the converter accepted it
    GENERATED = "generated"  # script and inputs are written, nothing was run

    def __str__(self) -> str:
        return self.value


@pydantic_dataclass(frozen=True, config=ConfigDict(allow_inf_nan=False))
class Placement:
    """Which operator runs where, as the toolchain reports it.

    ``layers`` are the toolchain's rows, one an operator: ``name op target macs cycles``, and where
    it says more, that as well; they are not part of a row's JSON. ``estimated_ms`` is an image's
    time by a formula that the target states, ``memory`` the bytes that are ``used`` of each kind
    and their ``limit``, if there is one; both where the target knows them.
    """

    npu_mac_fraction: float | None  # None: there is no NPU
    cpu_ops: tuple[str, ...]
    weights_bytes: int | None
    activation_bytes: int | None
    layers: tuple[Mapping[str, Any], ...] = Field(default=(), exclude=True)
    estimated_ms: float | None = None
    memory: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnostic:
    """What the toolchain accepted and the chip may not like, with what to do about it: one line.

    A ``fatal`` one makes the export fail, whatever the simulator answers.
    """

    words: str
    fatal: bool = False


@dataclass(frozen=True)
class Artifact:
    """What a target runs. ``files`` lie in ``folder``; the first is the one to hand to the runtime.

    A file may be a folder, where that is the runtime's format.

    ``settings`` is what the target needs to run it again: JSON values only. ``sources`` are files
    that the conversion needs but the chip does not. ``diagnostics`` go into the export's row.
    """

    target: str
    precision: Precision
    folder: Path
    files: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def path(self) -> Path:
        return self.folder / self.files[0]

    @property
    def size_bytes(self) -> int:
        paths = (path for name in self.files for path in list_files(self.folder / name))
        return sum(path.stat().st_size for path in paths)


def list_files(path: Path) -> list[Path]:
    """The file itself; of a folder, as Core ML has it, all that are in it."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@dataclass(frozen=True)
class LayerError:
    """What a layer's result has lost.

    ``sqnr_db`` compares it with the same layer in float, as :class:`Parity` does with outputs;
    ``own_`` is the loss of this layer alone: of a toolchain's own figures given the right input,
    else given the input that it had on the target.
    """

    name: str
    module: str
    op: str
    cosine: float
    sqnr_db: float
    own_cosine: float
    own_sqnr_db: float


@dataclass(frozen=True)
class Quantization:
    """How int8 is made.

    Args:
        count: calibration images, drawn from the training part.
        algorithm: one of :attr:`Target.algorithms`; None: the first.
        mixed: layers that int8 ruins get more bits.
    """

    count: int = 200
    algorithm: str | None = None
    mixed: bool = False


DEFAULT_QUANTIZATION = Quantization()


@dataclass(frozen=True)
class Conversion:
    """What a target is asked to convert, and where to.

    Args:
        graph: the network; ask it for the file format and the opset that the target reads.
        precision: one of :meth:`Target.supported_precisions`.
        out: an existing folder for the artifact, absolute.
        log: the file to which the converter's own words are appended.
        calibration: raw uint8 images ``[N, C, H, W]``; only for int8.
        quantization: how int8 is made of them.
    """

    graph: Graph
    precision: Precision
    out: Path
    log: Path
    calibration: np.ndarray | None = None
    quantization: Quantization = DEFAULT_QUANTIZATION

    def __post_init__(self) -> None:
        if (self.precision == "int8") != (self.calibration is not None):
            raise ValueError("int8, and nothing else, is calibrated on images")

    @property
    def normalization(self) -> dict[str, list[float]]:
        """The spec's ``mean`` and ``std``, as settings of an artifact."""
        return {"mean": list(self.graph.spec.mean), "std": list(self.graph.spec.std)}

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What a worker needs besides its arguments: ``images``, if they are needed."""
        return {} if self.calibration is None else {"images": self.calibration}


@dataclass(frozen=True)
class RunResult:
    """Outputs ``[N, ...]`` of N images, one array an output, and the median time of one."""

    outputs: list[np.ndarray]
    ms_per_image: float


def to_result(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> RunResult:
    """What a worker's ``run`` returns: ``ms_per_image``, and ``output0``, ``output1`` ..."""
    outputs = [arrays[f"output{index}"] for index in range(len(arrays))]
    return RunResult(outputs, values["ms_per_image"])


@dataclass(frozen=True)
class Limits:
    """What an export must reach; :func:`~.results.compare.failed_checks` judges by it.

    ``max_abs_error`` is for answers up to 5; for larger ones it grows with them, as float32's own
    rounding does. ``metric_drop`` is of a share of right answers. Mean Dice and mAP may lose twice
    as much: each is a mean over fewer things, and every pixel or box counts in it.
    """

    max_abs_error: float | None = None
    sqnr_db: float | None = None
    metric_drop: float | None = None


FLOAT32_LIMITS = Limits(max_abs_error=1e-4, metric_drop=0.0005)
FLOAT16_LIMITS = Limits(sqnr_db=40.0, metric_drop=0.001)
INT8_LIMITS = Limits(metric_drop=0.005)


class Target(ABC):
    """A place where a network runs. One small subclass a family; one file in ``targets/``.

    Images go in raw, ``[N, C, H, W]`` uint8 in 0..255: each target puts the spec's normalisation
    where that target wants it, and ``normalization`` says where that is.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    evidence: ClassVar[Evidence]
    precisions: ClassVar[tuple[Precision, ...]]
    normalization: ClassVar[str]  # who subtracts the mean: read by whoever feeds the artifact
    group: ClassVar[Group] = "cpu"  # CPUs of phones and boards, accelerators, microcontrollers
    excluded_from_groups: ClassVar[bool] = False  # another way to a chip that a group has
    opt_in: ClassVar[bool] = False  # fits few networks: groups hold it for those it fits
    chips: ClassVar[tuple[str, ...]] = ()
    chip_is_optional: ClassVar[bool] = False  # the family's name alone is a target too
    no_int8: ClassVar[str] = ""  # why, where the chip could and the tools cannot
    algorithms: ClassVar[tuple[str, ...]] = ()  # that choose int8 ranges, where there is a choice
    takes_tensors: ClassVar[bool] = False  # inputs that are no image, and several
    int8_takes_tensors: ClassVar[bool] = False  # its quantiser as well
    toolchain: ClassVar[Toolchain | None] = None  # None: edgeark's own environment is enough
    source_toolchain: ClassVar[Toolchain | None] = None  # that writes what the toolchain reads
    external_tool: ClassVar[ExternalTool | None] = None  # of the user's; runs what is written
    tool_path: Path | None = None  # where the user says that it is
    board: ClassVar[BoardRuntime | None] = None  # None: no board program of the common kind

    def __init__(self, chip: str | None = None) -> None:
        self.chip = chip

    @property
    def full_name(self) -> str:
        """``family[:chip]``."""
        return f"{self.name}:{self.chip}" if self.chip else self.name

    @property
    def folder_name(self) -> str:
        """The target's name as a folder: no colon, for the sake of Windows and make."""
        return self.full_name.replace(":", "-")

    @classmethod
    def toolchains(cls) -> list[Toolchain]:
        """All that have to be installed, in the order in which they work."""
        return [each for each in (cls.source_toolchain, cls.toolchain) if each is not None]

    def supported_precisions(self) -> tuple[Precision, ...]:
        """The precisions of this very chip."""
        return self.precisions

    def can_mix(self) -> bool:
        """Whether this very chip computes single layers in 16 bits among those in int8."""
        return False

    def limits(self, precision: Precision) -> Limits:
        """What an export of that precision must reach."""
        return {"float32": FLOAT32_LIMITS, "float16": FLOAT16_LIMITS, "int8": INT8_LIMITS}[
            precision
        ]

    def refuse_inputs(self, spec: ModelSpec, precision: Precision) -> str | None:
        """Why it cannot take the network's inputs, in one line; None where it can."""
        can = self.int8_takes_tensors if precision == "int8" else self.takes_tensors
        if not spec.inputs or can:
            return None
        shapes = " and ".join(f"{i.name} {format_shape(i.shape[1:])}" for i in spec.inputs)
        what = f"{self.full_name} {precision}" if self.takes_tensors else self.full_name
        return f"{what} takes one image of 1 or 3 channels here, and this network takes {shapes}"

    def rules(self) -> tuple[Rule, ...]:
        """What this very chip cannot do; an error among the findings refuses the export."""
        return ()

    def find_tool(self) -> Path | None:
        """The external tool; None where the user named none and none is on PATH."""
        tool = self.external_tool
        if self.tool_path is not None or tool is None or not tool.on_path:
            return self.tool_path
        found = shutil.which(tool.name)
        return None if found is None else Path(found)

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of the converter and the runtime, by package name."""

    @abstractmethod
    def convert(self, job: Conversion) -> Artifact:
        """Write the artifact's files into the folder ``job.out``.

        Raises:
            ToolchainError: the converter failed, whatever way it chose.
        """

    @abstractmethod
    def run(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        """Run raw images, one at a time, through the real runtime or simulator.

        None where neither is to be had: then :meth:`run_sources` says what can be said.
        """

    def run_untrusted(self, artifact: Artifact, images: np.ndarray, log: Path) -> RunResult | None:
        """:meth:`run` for files that somebody else may have made.

        A runtime of this process runs in one of its own, which writes nothing, has no network and
        a limit of memory and time.

        Raises:
            EdgearkError: they would run as a program of this user's; ``--trust`` allows it.
        """
        values, arrays = run_in_worker(artifact, images, log)
        return to_result(values, arrays) if values else None

    def run_sources(self, artifact: Artifact, images: np.ndarray) -> dict[str, RunResult]:
        """What the files answer, on a CPU, that are handed to a converter elsewhere; by file."""
        return {}

    def source_limits(self, precision: Precision) -> Limits:
        """What those answers must reach: most converters elsewhere take float32."""
        return FLOAT32_LIMITS

    def evidence_of(self, artifact: Artifact, result: RunResult | None) -> Evidence:
        """What proves this very export."""
        return self.evidence

    def placement(self, artifact: Artifact) -> Placement | None:
        """Which operator runs where; None where the toolchain does not say."""
        return None

    def layer_errors(
        self, artifact: Artifact, images: np.ndarray, log: Path
    ) -> list[LayerError] | None:
        """What each layer loses on raw images; None where the toolchain does not say."""
        return None

    def reproduction_source(self, job: Conversion) -> Path | None:
        """The file that the vendor's converter read; None: it was not that which converted."""
        return None

    def write_bundle(self, export: Path, out: Path) -> Bundle | None:
        """Write a board's folder of another kind than the common one; None: there is no other."""
        return None

    def max_images(self, artifact: Artifact) -> int | None:
        """How many test images a slow simulator gets at most; None: all that there are."""
        return None


def run_one_by_one(
    answer: Callable[..., Sequence[np.ndarray]],
    images: np.ndarray,
    settings: Mapping[str, Any],
) -> RunResult:
    """Run raw images through a runtime of this process, each normalised and timed on its own.

    Args:
        answer: the network: its inputs, float32 ``[1, ...]`` each; returns its outputs.
        images: raw images, uint8 ``[N, C, H, W]``, or records; see :func:`network_inputs`.
        settings: an artifact's, with ``mean`` and ``std``.
    """
    parts, seconds = [], []
    for index in range(len(images)):
        inputs = network_inputs(images[index : index + 1], settings["mean"], settings["std"])
        start = time.perf_counter()
        parts.append(answer(*inputs))
        seconds.append(time.perf_counter() - start)
    outputs = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return RunResult(outputs, float(np.median(seconds)) * 1e3)
