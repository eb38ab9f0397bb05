"""A pickle read as data: nothing that the file names is ever imported, called or built.

A pickle is a small program for a stack machine. This machine runs it on stand-ins: a name becomes a
:class:`Name`, a call or an object a :class:`Record` that keeps what it was given. There is no way
from either to code. What the records mean is for the reader of the file format to say.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from ..weights import WeightsError


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function that the file refers to."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Record:
    """What the file would have made of ``kind``: the arguments, then the state that is set."""

    kind: Name
    args: tuple[Any, ...]
    state: Any = None
    items: list[Any] = field(default_factory=list)  # appended, or key and value pairs

    def is_a(self, *names: str) -> bool:
        return str(self.kind) in names


def read_pickle(
    data: bytes,
    allowed: Callable[[Name], bool],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The content of a pickle: plain values, lists, dicts and tuples, and records.

    Args:
        data: the whole pickle.
        allowed: whether the file may refer to a name; a refused one ends the reading.
        persistent: what an external reference stands for (torch's storages); refused without.

    Raises:
        WeightsError: a refused name, an instruction that weights do not need, or a broken pickle.
    """
    machine = _Machine(allowed, persistent)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if count == _MOST_INSTRUCTIONS:
                raise WeightsError("the pickle is far larger than weights need")
            if opcode.name != "STOP":
                machine.step(opcode.name, argument)
        return machine.pop()
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError):
        raise WeightsError("the pickle is broken or cut off") from None


_MOST_INSTRUCTIONS = 2_000_000  # each may cost 100 bytes; a YOLOv5x has 84,000
_PUSHED = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
        *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MAPPINGS = ("collections.OrderedDict", "builtins.dict")


class _Machine:
    """The stack, the memo and one method for each kind of instruction."""

    def __init__(
        self, allowed: Callable[[Name], bool], persistent: Callable[[Any], Any] | None
    ) -> None:
        self.allowed = allowed
        self.persistent = persistent
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            items = tuple(self.stack[-count:])
            del self.stack[-count:]
            self.stack.append(items)
        elif handler := _HANDLERS.get(name):
            handler(self, argument)
        else:
            raise WeightsError(f"the pickle has the instruction {name}, which no weights need")

    def skip(self, argument: Any) -> None:
        """PROTO and FRAME say how the file is laid out; the reader below has seen to it."""

    def mark(self, argument: Any) -> None:
        self.marks.append(len(self.stack))

    def drop(self, argument: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()

    def drop_to_mark(self, argument: Any) -> None:
        self.pop_to_mark()

    def put(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else argument] = self.stack[-1]

    def get(self, argument: Any) -> None:
        self.stack.append(self.memo[argument])

    def make_tuple(self, argument: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def make_list(self, argument: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def make_dict(self, argument: Any) -> None:
        self.stack.append(_as_dict(_pairs(self.pop_to_mark())))

    def append(self, argument: Any) -> None:
        self.extend_last([self.pop()])

    def appends(self, argument: Any) -> None:
        self.extend_last(self.pop_to_mark())

    def extend_last(self, items: list[Any]) -> None:
        last = self.stack[-1]
        (last.items if isinstance(last, Record) else last).extend(items)

    def set_item(self, argument: Any) -> None:
        value, key = self.pop(), self.pop()
        self.update_last([(key, value)])

    def set_items(self, argument: Any) -> None:
        self.update_last(_pairs(self.pop_to_mark()))

    def update_last(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        last = self.stack[-1]
        if isinstance(last, Record):
            last.items.extend(pairs)
        else:
            last.update(_as_dict(pairs))

    def name(self, argument: Any) -> None:
        module, _, name = argument.partition(" ")
        self.push_name(module, name)

    def name_from_stack(self, argument: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError
        self.push_name(module, name)

    def push_name(self, module: str, name: str) -> None:
        found = Name("builtins" if module == "__builtin__" else module, name)
        if not self.allowed(found):
            raise WeightsError(
                f"the file refers to {str(found)[:80]!r}, which no weights need; "
                "it may be malicious, and nothing of it was run"
            )
        self.stack.append(found)

    def call(self, argument: Any) -> None:
        """A call, or a new object: what would be made is noted, an ordered dict is a dict."""
        args, kind = self.pop(), self.pop()
        if not isinstance(kind, Name) or not isinstance(args, tuple):
            raise TypeError
        if str(kind) in _MAPPINGS:
            self.stack.append(_as_dict(args[0] if args else ()))
        else:
            self.stack.append(Record(kind, args))

    def call_with_keywords(self, argument: Any) -> None:
        self.pop()  # the keywords of a constructor: no reader here needs them
        self.call(None)

    def set_state(self, argument: Any) -> None:
        state, last = self.pop(), self.stack[-1]
        if isinstance(last, Record):
            last.state = state
        elif not isinstance(last, dict):  # a state dict carries version numbers, of no use here
            raise TypeError

    def refer(self, argument: Any) -> None:
        if self.persistent is None:
            raise WeightsError("the pickle refers to things outside itself")
        self.stack.append(self.persistent(self.pop()))


def _pairs(items: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(items[::2], items[1::2], strict=True)


def _as_dict(pairs: Iterable[Any]) -> dict[Any, Any]:
    """A dict whose keys are plain: the hash of deeply nested tuples has no end, or ends Python."""
    pairs = [(key, value) for key, value in pairs]
    if not all(isinstance(key, (str, bytes, int, float, Name)) for key, _ in pairs):
        raise TypeError
    return dict(pairs)


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(("PROTO", "FRAME"), _Machine.skip),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "TUPLE": _Machine.make_tuple,
    "LIST": _Machine.make_list,
    "DICT": _Machine.make_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.refer,
}
