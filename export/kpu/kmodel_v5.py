"""A kmodel v5, the container that nncase 1.x writes: modules of code and constants.

All little-endian, after nncase's published headers (``runtime/model.h``)::

    header      LDMK, then u32 x 7: version 5, bytes of this header, flags, alignment, modules,
                entry module, entry function
    module      char[16] kind (``stackvm`` runs on the CPU, ``k210`` on the KPU), u32 x 8: version,
                bytes of this header, bytes in all, pools, shared pools, sections, functions, 0;
                then all of these in this order but with the functions before the sections
    pool        u8 kind of memory, 3 bytes, u32 bytes
    function    u32 x 8: 32, bytes of this record, bytes of inputs and of outputs, their counts,
                entry in .text, bytes there; then ranges and shapes of inputs and outputs
    section     char[16] name, u32 flags, start behind this header, bytes, 0; flags bit 0: merged
                into another section
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .layer import KmodelError

_HEADER = struct.Struct("<4s7I")
_MODULE = struct.Struct("<16s8I")
_FUNCTION = struct.Struct("<8I")
_SECTION = struct.Struct("<16s4I")
_MERGED = 1


@dataclass(frozen=True)
class Function:
    """Where a function's code lies in its module's ``.text``, and what it takes and gives."""

    input_bytes: int
    output_bytes: int
    entry: int
    text_bytes: int


@dataclass(frozen=True)
class Module:
    """``pools`` are bytes by kind of memory: 2 constants, 3 working data, 64 KPU RAM."""

    kind: str
    pools: Mapping[int, int]
    functions: tuple[Function, ...]
    sections: Mapping[str, bytes]

    @property
    def text(self) -> bytes:
        return self.sections.get(".text", b"")


def read_modules(data: bytes) -> tuple[Module, ...]:
    """The modules of a kmodel v5.

    Raises:
        KmodelError: another format, or a file that ends early.
    """
    try:
        magic, version, position, _, _, count, _, _ = _HEADER.unpack_from(data)
        if (magic, version) != (b"LDMK", 5):
            raise KmodelError(f"a kmodel of version 5 was expected, not {magic!r} {version}")
        modules = []
        for _ in range(count):
            module, size = _read_module(data, position)
            modules.append(module)
            position += size
    except struct.error as error:
        raise KmodelError(f"the kmodel ends early: {error}") from None
    return tuple(modules)


def _read_module(data: bytes, start: int) -> tuple[Module, int]:
    kind, _, header, size, pools, shared, sections, functions, _ = _MODULE.unpack_from(data, start)
    _check_step(size, _MODULE)
    place = start + header
    by_kind: dict[int, int] = {}
    for _ in range(pools):
        location, count = struct.unpack_from("<BxxxI", data, place)
        by_kind[location] = count
        place += 8
    place += 8 * shared
    found = []
    for _ in range(functions):
        _, step, inputs, outputs, _, _, entry, text = _FUNCTION.unpack_from(data, place)
        _check_step(step, _FUNCTION)
        found.append(Function(inputs, outputs, entry, text))
        place += step
    bodies = {}
    for _ in range(sections):
        name, flags, body, count, _ = _SECTION.unpack_from(data, place)
        place += _SECTION.size
        if flags & _MERGED:
            continue
        if place + body + count > len(data):
            raise struct.error(f"section {_text(name)!r} ends behind it")
        bodies[_text(name)] = data[place + body : place + body + count]
        place += body + count
    return Module(
        kind.rstrip(b"\0").decode("ascii", "replace"), by_kind, tuple(found), bodies
    ), size


def _check_step(step: int, record: struct.Struct) -> None:
    """A broken file must not be walked through on the spot, over and over."""
    if step < record.size:
        raise KmodelError(f"a record of {step} bytes, its fields need {record.size}")


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode("ascii", "replace")
