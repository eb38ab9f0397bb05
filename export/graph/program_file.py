"""A ``torch.export`` program: what it holds is checked before PyTorch reads it.

PyTorch unpickles parts of the file, loads native libraries from it, looks its operators up by any
dotted name, and compiles names and expressions of it as Python. Here a file may hold tensors and
known operators alone.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .torchscript_file import ALLOW, KNOWN_SPACES, ProgramError, computes, open_archive

_MOST_JSON = 2**27  # bytes
# What PyTorch's own writer puts into an archive, below its root folder.
_ENTRIES = re.compile(
    r"(data/(weights|constants)/(weight_\d+|tensor_\d+|\w+_config\.json)|models/\w+\.json"
    r"|data/sample_inputs/\w+\.pt|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)|version|\.format_version|extra/.*)"
)
_OPERATOR = re.compile(r"torch\.ops\.(\w+)\.(\w+)(\.\w+)?")
_PYTHON = re.compile(
    r"(_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|getitem|eq|ne|le|lt|ge|gt|and_|or_|not_)"
    r"|math\.(ceil|floor|sqrt|trunc)|torch\.sym_(float|int|ite|max|min|not|sqrt|sum)"
    r"|torch\.ops\.higher_order\.(wrap_with_set_grad_enabled|wrap_with_autocast|cond))"
)
_EXPRESSION = re.compile(
    r"([su]\d+|zuf\d+|\d+|Mod|FloorDiv|CeilDiv|CleanDiv|Max|Min|Eq|Ne|Ge|Gt|Le|Lt|And|Or|Not"
    r"|PythonMod|IntTrueDiv|TruncToInt|PowByNatural|True|False|oo|int_oo|[-+*/(), <>=!&|~])*"
)
_GUARD = re.compile(
    r"(L\[['\"]\w+['\"]\]|\[\d+\]|\.size\(\)|\.ndim|\.shape|\d+|and|or|not|None|True|False|is"
    r"|[-+*/%() <>=!])*"
)
_NAME = re.compile(r"[\w.]*")
_WORDS = {"metadata", "treespec_namedtuple_fields", "stack_trace", "in_spec", "out_spec"}
# More operators of torch.export's, which no source has.
_EXPORTED = {
    "_to_copy", "_assert_tensor_metadata", "_native_batch_norm_legit_no_training", "sym_size",
    "_native_batch_norm_legit", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "sym_numel",
    "_scaled_dot_product_flash_attention_for_cpu", "_assert_scalar", "_assert_async",
    "sym_constrain_range", "sym_constrain_range_for_size", "lift_fresh_copy", "sym_stride",
    "convert_element_type", "_prelu_kernel", "_cdist_forward", "_grouped_mm", "_softmax",
    "detach_copy", "split_copy", "_embedding_bag", "_weight_norm_interface", "_fft_r2c", "_fft_c2c",
    "_fft_c2r", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa", "_safe_softmax",
}  # fmt: skip


def check_program(path: Path) -> None:
    """Refuse a program file that holds more than tensors and operators that compute.

    Raises:
        ProgramError: no such file, or one that could run code.
    """
    try:
        with open_archive(path) as archive:
            for entry in archive.infolist():
                inner = entry.filename.partition("/")[2]
                if not _ENTRIES.fullmatch(inner):
                    raise ProgramError(f"{path} holds {inner or entry.filename}: {ALLOW}")
                if inner.endswith(".json"):
                    if entry.file_size > _MOST_JSON:
                        raise ValueError(f"{inner} is larger than {_MOST_JSON // 2**20} MiB")
                    _check(path, json.loads(archive.read(entry)), "")
    except (OSError, ValueError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ProgramError(f"{path} is not a torch.export program: {error}") from None


@contextmanager
def tensors_alone() -> Iterator[None]:
    """While it lasts, ``torch.load`` reads tensors and plain values, whatever its caller asks."""
    variable = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(variable)
    os.environ[variable] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


def _check(path: Path, value: Any, key: str) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if not _NAME.fullmatch(name) and key != "config":
                raise ProgramError(f"{path} has the name {name[:80]!r}: {ALLOW}")
            if name not in _WORDS:
                _check(path, inner, name)
    elif isinstance(value, list):
        for inner in value:
            _check(path, inner, key)
    elif isinstance(value, str) and not _is_harmless(value, key):
        raise ProgramError(f"{path} has the {key} {value[:80]!r}, which may run code: {ALLOW}")


def _is_harmless(text: str, key: str) -> bool:
    if key == "target":
        found = _OPERATOR.fullmatch(text)
        known = found and found[1] in KNOWN_SPACES | {"quantized_decomposed", "prims"}
        is_known = bool(known and found and (computes(found[2]) or found[2] in _EXPORTED))
        return is_known or bool(_PYTHON.fullmatch(text))
    if key == "expr_str":
        return bool(_EXPRESSION.fullmatch(text))
    if key == "guards_code":
        return bool(_GUARD.fullmatch(text))
    if key in ("as_string", "as_strings", "torch_version", "schema_version", "verifiers"):
        return text.isprintable() and not set(text) & set("()'\"\\")
    return bool(_NAME.fullmatch(text)) and "__" not in text.replace("____", "")
