"""What the K210's KPU can compute, as questions about one operator of a network.

Two compilers serve the chip, and differ in what becomes of the rest: ``k210.py`` and ``nncase.py``
have their rules. A function whose name says what is wrong returns what it sees in few words, or
None where all is well.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Literal

from torch import Tensor, fx

from ...graph.network import Network, Op
from ...kpu.compiler.check import MAX_CHANNELS, MAX_HEIGHT, MAX_WIDTH, SMALLEST_MAP
from ...kpu.layer import KpuTensor
from ...lint.predicates import adds_windows, axis_order, depth_multiplier

KERNELS = ((1, 1), (3, 3))
_POOL_SIDES = (2, 4)

# Of one element each: they become part of a convolution's activation table.
FUNCTIONS = frozenset(
    {
        *("relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max", "leaky_relu", "elu"),
        *("sigmoid", "tanh", "hardsigmoid", "hardswish", "silu", "mish", "softplus"),
        *("neg", "exp", "rsub", "square", "abs", "erf", "gelu", "selu", "softsign", "log_sigmoid"),
        *("log", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "atan", "pow"),
    }
)
ARITHMETIC = frozenset(
    {
        *("add", "sub", "mul", "div", "subtract", "multiply", "divide", "true_divide"),
        *("maximum", "minimum"),
    }
)
NOTHING = frozenset(
    {
        *("dropout", "feature_dropout", "alpha_dropout", "contiguous", "clone", "detach", "alias"),
        *("flatten", "reshape", "view", "squeeze", "unsqueeze", "to", "_to_copy", "type_as"),
        "lift_fresh_copy",
    }
)
_MOVES = frozenset({"expand", "expand_as", "narrow", "repeat", "select", "slice", "tile"})


def moves_nothing(op: Op) -> bool:
    """Whether an operator that moves or repeats leaves every number where it is."""
    before = next(iter(op.input_shapes), ())
    if op.kind in _MOVES:
        return prod(before) == prod(op.shape)
    if op.kind in ("permute", "transpose"):
        long = [axis for axis in axis_order(op) if before[axis] > 1]
        return long == sorted(long)
    return op.kind in ("pad", "constant_pad_nd") and not any(op.arguments["pad"])


def shape_in(op: Op) -> tuple[int, ...]:
    """Of the first activation that goes in, without the batch."""
    return op.input_shapes[0][1:]


def root(op: Op) -> Op | None:
    """The operator whose result this is a function of, element by element; None is the image."""
    return _roots(op.network)[op.node]


@lru_cache(maxsize=1)  # rules ask for every operator of one network
def _roots(network: Network) -> dict[fx.Node, Op | None]:
    found: dict[fx.Node, Op | None] = {}
    for op in network.ops:
        one_by_one = op.kind in FUNCTIONS | ARITHMETIC | {"batch_norm"}
        sources = {one and found[one.node] for one in op.inputs} if one_by_one else set()
        found[op.node] = sources.pop() if len(sources) == 1 else op
    return found


def padding(op: Op) -> tuple[int, int]:
    """Of a convolution, vertical and horizontal; ``"same"`` is a number too."""
    given = op.arguments.get("padding")
    if isinstance(given, str):
        high, wide = op.kernel
        return (high // 2, wide // 2) if given == "same" else (0, 0)
    return op.pair("padding", 0)


def is_fully_connected(op: Op) -> bool:
    """A linear layer, or a convolution over a whole map."""
    if op.kind == "linear":
        return True
    dense = op.arguments["groups"] == 1 and padding(op) == (0, 0)
    return dense and op.kernel == shape_in(op)[1:]


def other_kernel(op: Op) -> str | None:
    if op.kernel in KERNELS or is_fully_connected(op):
        return None
    return f"a kernel of {op.kernel[0]}x{op.kernel[1]}"


def grouped(op: Op) -> str | None:
    groups = op.arguments["groups"]
    return None if groups == 1 or depth_multiplier(op) == 1 else f"{groups} groups"


def dilated(op: Op) -> str | None:
    holes = op.pair("dilation")
    if holes == (1, 1) or is_fully_connected(op):
        return None
    return f"dilation {max(holes)}"


def other_stride(op: Op) -> str | None:
    if op.stride in ((1, 1), (2, 2)) or is_fully_connected(op):
        return None
    return f"stride {op.stride[0]}x{op.stride[1]}"


def odd_halving(op: Op) -> str | None:
    sides = shape_in(op)[1:]
    if op.stride != (2, 2) or not any(side % 2 for side in sides) or is_fully_connected(op):
        return None
    return f"stride 2 on a map of {sides[0]}x{sides[1]}"


def other_padding(op: Op) -> str | None:
    if is_fully_connected(op) or op.kernel not in KERNELS:
        return None
    found, margin = padding(op), op.kernel[0] // 2
    return None if found == (margin, margin) else f"padding {found[0]}x{found[1]}"


def many_channels(op: Op) -> str | None:
    if is_fully_connected(op):
        return None
    most = max(op.shape_of("weight")[0], shape_in(op)[0])
    return f"{most} channels" if most > MAX_CHANNELS else None


def many_features(op: Op) -> str | None:
    """Of a fully connected layer."""
    if not is_fully_connected(op):
        return None
    weight = op.shape_of("weight")
    most = max(weight[0], prod(weight[1:]))
    return f"{most} features" if most > MAX_CHANNELS else None


def head_on_a_pixel(op: Op) -> str | None:
    on_pixel = is_fully_connected(op) and shape_in(op)[1:] == (1, 1)
    return "a 1x1 convolution on a map of 1x1" if on_pixel else None


def small_map(op: Op) -> str | None:
    """Of a convolution's input, or of a pool's output where the KPU pools."""
    if op.kind == "conv2d":
        sides = () if is_fully_connected(op) else shape_in(op)[1:]
    else:
        sides = op.shape[2:] if pool_place(op) == "KPU" else ()
    if not sides or min(sides) >= SMALLEST_MAP:
        return None
    return f"a map of {sides[0]}x{sides[1]}"


def large_map(op: Op) -> str | None:
    height, width = shape_in(op)[1:]
    if is_fully_connected(op) or (height <= MAX_HEIGHT and width <= MAX_WIDTH):
        return None
    return f"a map of {height}x{width}"


def pool_place(op: Op) -> Literal["KPU", "mean", "CPU", ""]:
    """Where edgeark's compiler puts a pool; ``mean`` is a whole map's, '' nowhere."""
    kernel, average = op.kernel, op.kind == "avg_pool2d"
    plain = op.pair("padding", 0) == (0, 0) and op.pair("dilation") == (1, 1)
    sides = shape_in(op)[1:]
    if average and plain and kernel == sides:
        return "mean"
    cut = adds_windows(op)
    square = kernel == op.stride and kernel[0] == kernel[1] in _POOL_SIDES
    if plain and square and not cut and op.arguments.get("divisor_override") is None:
        return "KPU"
    return "" if average or cut or op.pair("dilation") != (1, 1) else "CPU"


def pool_of_a_skip(op: Op) -> str | None:
    """A pool that the KPU has, of a tensor that something else reads too."""
    source = op.before
    shared = source is not None and (len(source.users) > 1 or source.is_output)
    return "a pool of a tensor that is wanted whole as well" if shared else None


def lonely_depthwise_stride(op: Op) -> str | None:
    """Its stride is the next 1x1 convolution's to take."""
    if depth_multiplier(op) != 1 or op.stride != (2, 2):
        return None
    if all(reader is not None and _takes_stride(reader) for reader in _readers(op, op)):
        return None
    return "a depthwise convolution of stride 2 with something else than a 1x1 behind it"


def _takes_stride(op: Op) -> bool:
    dense = op.kind == "conv2d" and op.arguments["groups"] == 1
    return dense and (op.kernel, op.stride) == ((1, 1), (1, 1))


def _readers(op: Op, of: Op) -> list[Op | None]:
    """What reads functions of ``of`` behind ``op``; None is the network's output."""
    found: list[Op | None] = [None] if op.is_output else []
    for user in op.users:
        found += _readers(user, of) if root(user) is of else [user]
    return found


def different_tensors(op: Op) -> bool:
    """Whether arithmetic joins two tensors, rather than two functions of one."""
    return len({one and root(one) for one in op.inputs}) > 1


def channel_constants(op: Op) -> str | None:
    """Arithmetic with a number for each channel, or normalisation that no convolution takes."""
    if op.kind == "batch_norm":
        source = op.before
        while source is not None and source.kind == "batch_norm" and len(source.users) == 1:
            source = source.before  # several fold one after another
        if source is not None and source.kind == "conv2d" and len(source.users) == 1:
            return None
        return "batch normalisation that is not right behind a convolution"
    constants = [value for value in op.arguments.values() if isinstance(value, Tensor)]
    if all(value.numel() == 1 for value in constants):
        return None
    return f"{op.kind} with one number for each channel"


def kpu_rows(op: Op) -> int:
    """Rows of KPU RAM that a convolution's input and output take while it runs.

    The output is the pooled one, where a pool is the only reader; a depthwise convolution's stride
    is done by the layer behind it.
    """
    channels, height, width = shape_in(op)
    outputs = op.shape_of("weight")[0]
    end = _pooled(op)
    high, wide = (height, width) if depth_multiplier(op) == 1 else end.shape[2:]
    return KpuTensor(0, (channels, height, width)).rows + KpuTensor(0, (outputs, high, wide)).rows


def _pooled(op: Op) -> Op:
    """The last operator that is one KPU layer with a convolution."""
    end = op
    while len(end.users) == 1 and not end.is_output:
        (user,) = end.users
        if root(user) is op:
            end = user
        elif user.kind in ("max_pool2d", "avg_pool2d") and pool_place(user) == "KPU":
            return user if op.stride == (1, 1) else end
        else:
            break
    return end


def weight_bytes(network: Network) -> int:
    """Of the kmodel: a byte a weight, and four in a fully connected layer of the CPU."""
    total = 0
    for op in network.of_kind("conv2d", "linear"):
        total += prod(op.shape_of("weight")) * (4 if many_features(op) else 1)
    return total
