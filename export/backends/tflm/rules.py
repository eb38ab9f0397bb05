"""What TensorFlow Lite Micro lacks: rules for ``edgeark check``.

Each was seen with tflite-micro 0.dev20261023, and ``test_tflm_rules.py`` sees it again. LiteRT's
rules hold too, since its files are what is run.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.network import Network
from ...lint.rule import Match
from ...lint.rule_set import RuleSet
from ..litert.rules import rules as litert
from .boards import BOARDS, Board
from .memory import peak_bytes, weight_bytes

_TIGHT = 0.7  # of RAM: what maps alone may take before an export has to tell

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(litert)


def _limit_memory(board: Board) -> None:
    @rules.network(
        name="ram",
        chips=(board.chip,),
        reason="the arena does not fit the board",
        fix="give it a smaller input, or halve the maps earlier, by a first convolution with "
        "stride 2",
    )
    def ram(network: Network) -> Iterator[Match]:
        size, op = peak_bytes(network)
        if size > board.ram:
            yield Match(op, f"maps take {size:,} bytes at once in int8, and RAM is {board.ram:,}")

    @rules.network(
        name="little-ram",
        severity="warning",
        chips=(board.chip,),
        reason="padded copies, the interpreter's notes and the firmware need RAM too",
        fix="export it: the row says the arena exactly",
    )
    def little_ram(network: Network) -> Iterator[Match]:
        size, op = peak_bytes(network)
        if _TIGHT * board.ram < size <= board.ram:
            yield Match(op, f"maps take {size:,} bytes at once in int8, and RAM is {board.ram:,}")

    @rules.network(
        name="flash",
        chips=(board.chip,),
        reason="the network does not fit the board",
        fix="make it narrower, or shallower",
    )
    def flash(network: Network) -> Iterator[Match]:
        size = weight_bytes(network)
        if size > board.flash:
            yield Match(None, f"weights take {size:,} bytes in int8, and flash is {board.flash:,}")


for _board in BOARDS.values():
    _limit_memory(_board)
