"""A bundle for firmware: C++ sources with the network as an array, for TensorFlow Lite Micro."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from pydantic import BaseModel, PositiveInt, ValidationError

from ...bundle.facts import BundleError, GoldenFacts, facts_of
from ...bundle.verifiable import make_verifiable
from ...results.folder import staged_folder
from ...results.interface import OutputFacts
from ...targets.board import BoardRuntime, Bundle
from ...targets.templates import open_templates
from ...verify import REPEAT_TOLERANCE, reopen
from .boards import BOARDS, judge

HERE = Path(__file__).resolve().parent
_CODE, _TEMPLATES = HERE / "firmware_code", HERE / "firmware_templates"
_EDGE_POST = HERE.parents[1] / "bundle" / "c"
_COMMON = ("network.cpp", "network.h", "answer.h", "golden.h", "main.cpp", "golden_main.cpp")
_DECODERS = ("raw", "softmax", "argmax", "threshold", "yolov5", "yolox", "dfl")  # of model.h
_TASKS = ("classification", "detection", "segmentation", "raw")
_GOLDEN_BYTES = 2**18  # of flash; one input there is in any case
_LINE = 24  # numbers
# Methods of MicroMutableOpResolver that are not spelled as their operators are.
_SPELLED = {
    "PADV2": "PadV2",
    "CUMSUM": "CumSum",
    "BATCH_MATMUL": "BatchMatMul",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


class _Measured(BaseModel):
    """What the export's manifest says of its file."""

    arena_bytes: PositiveInt
    operators: tuple[str, ...]
    output_places: tuple[int, ...]


def write_firmware(export: Path, out: Path) -> Bundle:
    """Write the sources.

    Args:
        export: the folder of an export, or a file in it.
        out: the bundle's folder: a new one.

    Raises:
        ManifestError: there is no export.
        BundleError: its files are not those of its manifest, it does not fit its board, or its
            task has no program.
    """
    found = reopen(export)
    manifest, folder = found.manifest, found.folder
    if changed := found.changed_files():
        raise BundleError(f"not the files that the manifest describes: {', '.join(changed)}")
    if manifest.task not in _TASKS:
        raise BundleError(f"no program for {manifest.task}; there are ones for {', '.join(_TASKS)}")
    measured = _read_measured(manifest.settings)
    board = BOARDS.get(found.target.chip or "")
    if manifest.head.decoder not in _DECODERS:
        raise BundleError(f"no program decodes {manifest.head.decoder!r}")
    content = (folder / manifest.files[0].name).read_bytes()
    for problem in judge(board, measured.arena_bytes, len(content)):
        if problem.fatal:
            raise BundleError(f"{manifest.model}: {problem.words}")
    vectors = found.golden()
    tolerance = REPEAT_TOLERANCE[manifest.precision]
    golden = GoldenFacts(len(vectors.images), "golden.cpp", (), (), tolerance)
    facts = facts_of(manifest, BoardRuntime(_CODE), golden, found.target.chip)
    count = max(1, min(len(vectors.images), _GOLDEN_BYTES // vectors.images[0].size))
    is_int8 = facts.input.type == "int8"
    values = {
        "facts": facts,
        "input": facts.input,
        "resize": facts.resize,
        "head": facts.head,
        "anchors": [sum(scale, ()) for scale in facts.head.anchors] or [(0.0,)],
        "type": "EP_INT8" if is_int8 else "EP_FLOAT32",
        "outputs": [
            {"place": place, "shape": _shape(o), "scale": o.scale, "zero_point": o.zero_point}
            for place, o in zip(measured.output_places, facts.outputs, strict=True)
        ],
        "operators": [method_of(name) for name in measured.operators],
        "arena_bytes": measured.arena_bytes,
        "file_bytes": len(content),
        "board": board,
        "versions": found.target.versions(),
        "evidence": manifest.evidence,
        "golden_count": count,
        "tolerance": tolerance,
        "number": "int8_t" if is_int8 else "float",
        "pixels": [image.transpose(1, 2, 0).ravel() for image in vectors.images[:count]],
        "answers": [
            [_stored(answer, o) for answer in answers[:count]]
            for answers, o in zip(vectors.answers, facts.outputs, strict=True)
        ],
    }
    templates = _templates()
    with staged_folder(out) as staged:
        for name in ("model.h", "operators.h", "golden.cpp", "README.md"):
            text = templates.get_template(f"{name}.jinja").render(values)
            (staged / name).write_text(text, encoding="utf-8")
        (staged / "model.cpp").write_text(_array(content), encoding="utf-8")
        for name in (*_COMMON, "CMakeLists.txt"):
            shutil.copyfile(_CODE / name, staged / name)
        shutil.copyfile(_CODE / f"{manifest.task}.cpp", staged / "answer.cpp")
        (staged / manifest.files[0].name).write_bytes(content)
        (staged / "edge_post").mkdir()
        for path in sorted(_EDGE_POST.glob("edge_post*.[ch]")):
            shutil.copyfile(path, staged / "edge_post" / path.name)
        make_verifiable(staged, found)
        files = sorted(p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file())
    sizes = {"arena_bytes": measured.arena_bytes, "flash_bytes": len(content)}
    return Bundle(out, tuple(files), {"model": facts.model, "target": facts.target, **sizes})


def method_of(operator: str) -> str:
    """``Conv2D`` of ``CONV_2D``: the resolver's method is ``AddConv2D``."""
    if not re.fullmatch(r"[A-Z][A-Z0-9_]*", operator):
        raise BundleError(f"no name of an operator: {operator!r}")
    camel = "".join(part.capitalize() for part in operator.split("_"))
    return _SPELLED.get(operator, re.sub(r"(\d)d$", r"\1D", camel))


def _read_measured(settings: Any) -> _Measured:
    try:
        return _Measured.model_validate(dict(settings))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise BundleError(f"the manifest's settings lack {where}: export again") from None


def _shape(output: OutputFacts) -> tuple[int, int, int]:
    """Channels, height and width; what is no map is a vector."""
    if output.layout == "NHWC":
        _, height, width, channels = output.shape
        return channels, height, width
    return int(np.prod(output.shape)), 1, 1


def _stored(answer: np.ndarray, output: OutputFacts) -> np.ndarray:
    """An answer ``[C, H, W]`` or ``[N]`` as the runtime has it in memory."""
    flat = (answer.transpose(1, 2, 0) if output.layout == "NHWC" else answer).ravel()
    if output.type == "float32":
        return flat
    return np.round(flat / np.float32(output.scale)).astype(np.int64) + output.zero_point


def _array(content: bytes) -> str:
    return (
        "/**\n * @brief The LiteRT file. Written by edgeark.\n */\n"
        '#include "model.h"\n\nnamespace model {\n\n'
        f"const std::size_t data_size = {len(content)};\n"
        f"alignas(16) const unsigned char data[] = {{\n    {_numbers(content)}\n}};\n\n"
        "}  // namespace model\n"
    )


def _numbers(values: Iterable[Any]) -> str:
    texts = [str(v) if isinstance(v, (int, np.integer)) else _literal(v) for v in values]
    lines = [",".join(texts[start : start + _LINE]) for start in range(0, len(texts), _LINE)]
    return ",\n    ".join(lines)


def _literal(value: float) -> str:
    """A float of C++."""
    text = f"{float(value):.9g}"
    return f"{text}f" if any(sign in text for sign in ".e") else f"{text}.0f"


def _floats(values: Sequence[float], least: int, fill: float) -> str:
    """At least so many, since C++ has no empty arrays."""
    return ", ".join(_literal(v) for v in [*values, *[fill] * (least - len(values))])


def _c_string(text: str) -> str:
    """ASCII as it is, everything else as octal bytes of UTF-8."""
    plain = {ord('"'): '\\"', ord("\\"): "\\\\", ord("?"): "\\?"}
    shown = (plain.get(b, chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode())
    return f'"{"".join(shown)}"'


def _templates() -> Environment:
    environment = open_templates(_TEMPLATES)
    environment.filters |= {
        "numbers": _numbers,
        "floats": _floats,
        "float_literal": _literal,
        "c_string": _c_string,
        "grouped": lambda number: f"{number:,}",
    }
    return environment
