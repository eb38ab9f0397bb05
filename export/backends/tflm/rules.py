"""What TensorFlow Lite Micro lacks: rules for ``edgeark check``.

Each was seen with tflite-micro 0.dev20261023, and ``test_tflm_rules.py`` sees it again. LiteRT's
rules hold too, since its files are what is run.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...graph.network import Network, Op
from ...lint import common
from ...lint.rule import Match
from ...lint.rule_set import RuleSet
from ..litert.rules import rules as litert
from .boards import BOARDS, Board
from .memory import peak_bytes, weight_bytes

_TIGHT = 0.7  # of RAM: what maps alone may take before an export has to tell

rules = RuleSet(examples=f"{__package__}.examples")
rules.include(litert)

_LACKS = "TensorFlow Lite Micro has no kernel for it"


@rules.op(
    *("all", "any", "atan", "avg_pool3d", "celu", "elu", "fmod", "gather", "gelu", "grid_sampler"),
    *("im2col", "mish", "prod", "selu", "sign", "softplus", "trunc"),
    name="missing-operator",
    reason=_LACKS,
    fix="use ReLU, ReLU6, LeakyReLU, SiLU, Hardswish, sigmoid or tanh, and sums, products, means "
    "and maxima",
)
def missing_operator(op: Op) -> str | None:
    return op.kind.replace("_", " ")


@rules.op(
    "where",
    name="choice",
    reason=_LACKS,
    fix="choose a constant (masked_fill), or multiply: x * (x > 0)",
)
def choice(op: Op) -> str | None:
    """Of a whole map and a constant it has one."""
    is_whole = all(op.shape_of(name) == op.shape for name in ("self", "other"))
    return "a choice between two maps" if is_whole else None


@rules.op(
    "clamp",
    "hardtanh",
    name="clamp-to-one",
    reason=f"LiteRT writes RELU_0_TO_1, and {_LACKS}",
    fix="use nn.ReLU6 and scale by 6, or clamp to other limits",
)
def clamp_to_one(op: Op) -> str | None:
    given = op.arguments
    limits = [given.get(name, given.get(f"{name}_val")) for name in ("min", "max")]
    are_numbers = all(isinstance(limit, (int, float)) for limit in limits)
    return "clamping to 0..1" if are_numbers and limits == [0, 1] else None


@rules.op(
    "pow",
    name="power",
    reason=_LACKS,
    fix="multiply: x * x * x",
)
def power(op: Op) -> str | None:
    return None if _exponent(op) in (0.5, 1, 2) else "a power other than a square or a root"


@rules.op(
    "permute",
    "transpose",
    name="six-axes",
    reason="TensorFlow Lite Micro transposes five at most",
    fix="reorder in two steps, or use nn.PixelShuffle and nn.PixelUnshuffle",
)
def six_axes(op: Op) -> str | None:
    return f"a permutation of {len(op.shape)} axes" if len(op.shape) > 5 else None


circular_padding = rules.add(common.circular_padding(_LACKS))


def _exponent(op: Op) -> float | None:
    """None where it is computed, or one for each number."""
    given = op.arguments["exponent"]
    return given if isinstance(given, (int, float)) else None


@rules.op(
    *("logsumexp", "scaled_dot_product_attention"),
    name="int8-crash",
    severity="warning",
    reason="in int8 the interpreter dies of it; float32 is right",
    fix="leave attention out, or export float32",
)
def int8_crash(op: Op) -> str | None:
    return op.kind.replace("_", " ")


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
