"""Small networks at random: what a hunt for wrong answers and refusals tries on an engine.

A step is a line of PyTorch on ``x``, with ``w[0]``, ``w[1]`` ... for its constants: it can be read,
run again, and shrunk. Operators, ranks, channels, sizes and arguments are drawn.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as f

CHANNELS = (1, 3, 8, 16, 17, 32, 64)
SIZES = ((24, 40), (23, 31), (16, 16), (33, 20))
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """``code`` reads ``x`` and the constants ``w``, of these shapes."""

    code: str
    constants: tuple[Shape, ...] = ()


Operator = Callable[[random.Random, Tensor], Step | None]


@dataclass(frozen=True)
class Drawing:
    """A convolution from an image to ``channels``, steps, and perhaps a convolution behind."""

    channels: int
    stride: int
    steps: tuple[Step, ...]
    has_head: bool

    def __str__(self) -> str:
        shapes = "; ".join(str(step.constants) for step in self.steps if step.constants)
        lines = "; ".join(f"x = {step.code}" for step in self.steps)
        head = ", 1x1 convolution behind" if self.has_head else ""
        given = f"  w: {shapes}" if shapes else ""
        return f"{lines}  [{self.channels} channels, stride {self.stride}{head}]{given}"

    @property
    def key(self) -> str:
        """Operators alone: two drawings with the same are one finding."""
        return " ".join(step.code.split("(")[0] for step in self.steps)


class Drawn(nn.Module):
    """The network of a drawing, with the same weights at every call."""

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.before = nn.Conv2d(3, drawing.channels, 3, drawing.stride, 1)
        self.codes = [compile(step.code, "drawing", "eval") for step in drawing.steps]
        self.weights = nn.ModuleList(
            nn.ParameterList(
                torch.randn(s, generator=generator) / math.sqrt(max(1, math.prod(s[1:])))
                for s in step.constants
            )
            for step in drawing.steps
        )
        self.behind: nn.Module = nn.Identity()
        self.eval()
        if drawing.has_head:
            with torch.no_grad():
                result = self(torch.zeros(1, 3, 32, 32))
            if result.ndim == 4:
                self.behind = nn.Conv2d(result.shape[1], 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for code, weights in zip(self.codes, self.weights, strict=True):
            x = eval(code, {"torch": torch, "f": f}, {"x": x, "w": list(weights.parameters())})
        return self.behind(x)


def draw(rng: random.Random, size: tuple[int, int]) -> Drawing:
    """One whose steps PyTorch takes, and whose answer is finite and no constant."""
    while True:
        channels, stride = rng.choice(CHANNELS), rng.choice((1, 1, 2))
        x = torch.randn(1, channels, *(math.ceil(side / stride) for side in size))
        steps: list[Step] = []
        if rng.random() < 0.35:
            _take(rng.choice(RANKS), rng, x, steps)
        for _ in range(rng.choice((1, 1, 2, 3))):
            value = _run(steps, x)
            _take(rng.choice(OPERATORS), rng, value, steps)
        if not steps:
            continue
        drawing = Drawing(channels, stride, tuple(steps), rng.random() < 0.5)
        if _is_usable(drawing, size):
            return drawing


def smaller(drawing: Drawing, size: tuple[int, int]) -> list[Drawing]:
    """Drawings with less in them, the smallest change last."""
    found = [
        replace(drawing, steps=drawing.steps[:index] + drawing.steps[index + 1 :])
        for index in range(len(drawing.steps))
    ]
    found += [replace(drawing, has_head=False)] if drawing.has_head else []
    found += [replace(drawing, stride=1)] if drawing.stride > 1 else []
    found += [replace(drawing, channels=c) for c in (8, 3) if c < drawing.channels]
    return [each for each in found if each.steps and _is_usable(each, size)]


def _is_usable(drawing: Drawing, size: tuple[int, int]) -> bool:
    try:
        with torch.no_grad():
            y = Drawn(drawing)(torch.randn(2, 3, *size)[:1])
    except Exception:  # noqa: BLE001 (PyTorch refuses it)
        return False
    is_batch = y.ndim > 0 and y.shape[0] == 1 and 1 < y.numel() < 2e5 and y.ndim <= 6
    is_plain = y.is_floating_point() and bool(y.isfinite().all())
    return is_batch and is_plain and float(y.std()) > 1e-3 and float(y.abs().max()) < 1e3


def _run(steps: Sequence[Step], x: Tensor) -> Tensor:
    for step in steps:
        weights = [torch.randn(shape) for shape in step.constants]
        with torch.no_grad():
            x = eval(step.code, {"torch": torch, "f": f}, {"x": x, "w": weights})
    return x


def _take(operator: Operator, rng: random.Random, x: Tensor, steps: list[Step]) -> None:
    """Append a step that PyTorch takes."""
    try:
        step = operator(rng, x)
        if step is not None:
            _run([step], x)
            steps.append(step)
    except Exception:  # noqa: BLE001
        return


def _plain(*codes: str) -> Operator:
    return lambda rng, x: Step(rng.choice(codes))


def _with(**choices: Sequence[Any]) -> Callable[[str], Operator]:
    """Codes whose names in braces are drawn; ``dim`` is always known."""

    def make(code: str) -> Operator:
        def operator(rng: random.Random, x: Tensor) -> Step:
            drawn = {name: rng.choice(values) for name, values in choices.items()}
            dims = list(range(1, x.ndim)) or [0]
            pair = sorted(rng.sample(dims, min(2, len(dims))))
            return Step(code.format(dim=rng.choice(dims), dims=tuple(pair), **drawn))

        return operator

    return make


def _convolution(rng: random.Random, x: Tensor) -> Step | None:
    if x.ndim not in (3, 4, 5):
        return None
    dims, channels = x.ndim - 2, x.shape[1]
    groups = rng.choice([g for g in (1, 1, 2, 4, channels) if channels % g == 0])
    out = rng.choice([c for c in (*CHANNELS, channels) if c % groups == 0])
    kernel = tuple(rng.choice((1, 2, 3, 3, 5)) for _ in range(dims))
    stride, dilation = rng.choice((1, 1, 2, 3)), rng.choice((1, 1, 1, 2))
    padding = tuple(rng.choice((0, k // 2)) for k in kernel)
    bias = rng.random() < 0.5
    if rng.random() < 0.3:
        shapes: list[Shape] = [(channels, out // groups, *kernel)]
        more = rng.choice((0, stride - 1))
        name, tail = f"conv_transpose{dims}d", f"{stride}, {padding}, {more}, {groups}, {dilation}"
    else:
        shapes = [(out, channels // groups, *kernel)]
        name, tail = f"conv{dims}d", f"{stride}, {padding}, {dilation}, {groups}"
    shapes += [(out,)] if bias else []
    return Step(f"f.{name}(x, w[0], {'w[1]' if bias else None}, {tail})", tuple(shapes))


def _pool(rng: random.Random, x: Tensor) -> Step | None:
    if x.ndim not in (3, 4, 5):
        return None
    dims = x.ndim - 2
    kernel = tuple(rng.choice((2, 3, 3, 4, 5)) for _ in range(dims))
    stride, padding = rng.choice((1, 2, 2, 3)), tuple(rng.choice((0, k // 2)) for k in kernel)
    ceil, counts = rng.random() < 0.4, rng.random() < 0.5
    if rng.random() < 0.5:
        dilation = rng.choice((1, 1, 1, 2))
        return Step(f"f.max_pool{dims}d(x, {kernel}, {stride}, {padding}, {dilation}, {ceil})")
    return Step(f"f.avg_pool{dims}d(x, {kernel}, {stride}, {padding}, {ceil}, {counts})")


def _operand(rng: random.Random, x: Tensor) -> Shape:
    """A shape that broadcasts to that of ``x``, perhaps of fewer axes."""
    shape = [1, *(side if rng.random() < 0.5 else 1 for side in x.shape[1:])]
    return tuple(shape[rng.choice((0, 0, 1, x.ndim - 1)) :]) or (1,)


def _with_constant(rng: random.Random, x: Tensor) -> Step:
    codes = ("x + w[0]", "x - w[0]", "w[0] - x", "x * w[0]", "x / (w[0].abs() + 0.5)")
    codes += ("w[0] / (x.abs() + 0.5)", "torch.maximum(x, w[0])", "torch.minimum(x, w[0])")
    codes += (
        "torch.where(x > 0.1, x, w[0])",
        "torch.where(x > w[0], x * 2, x)",
        "x.lerp(w[0], 0.3)",
    )
    return Step(rng.choice(codes), (_operand(rng, x),))


def _linear(rng: random.Random, x: Tensor) -> Step:
    features, out = x.shape[-1], rng.choice(CHANNELS)
    if rng.random() < 0.5:
        return Step("f.linear(x, w[0], w[1])", ((out, features), (out,)))
    return Step("x @ w[0]", ((features, out),))


def _norm(rng: random.Random, x: Tensor) -> Step:
    channels, last = x.shape[1], x.shape[-1]
    if rng.random() < 0.4:
        return Step("f.layer_norm(x, x.shape[-1:], w[0], w[1])", ((last,), (last,)))
    groups = rng.choice([g for g in (1, 2, 4, channels) if channels % g == 0])
    return Step(f"f.group_norm(x, {groups}, w[0], w[1])", ((channels,), (channels,)))


def _index(rng: random.Random, x: Tensor) -> Step:
    dim = rng.choice(range(1, x.ndim)) if x.ndim > 1 else 0
    side = x.shape[dim]
    listed = [rng.randrange(-side, side) for _ in range(rng.choice((1, 2, 3)))]
    start, stop = sorted(rng.sample(range(side + 1), 2)) if side > 1 else (0, 1)
    before = ":, " * dim
    return Step(
        rng.choice(
            (
                f"x[{before}{listed}]",
                f"x[{before}{start}:{stop}]",
                f"x[{before}{rng.choice((0, 1))}::{rng.choice((2, 3))}]",
                f"x[{before}{rng.randrange(-side, side)}]",
                f"x.narrow({dim}, {start}, {stop - start})",
                f"x.index_select({dim}, torch.tensor({[i % side for i in listed]}))",
            )
        )
    )


def _permuted(rng: random.Random, x: Tensor) -> Step:
    rest = list(range(1, x.ndim))
    rng.shuffle(rest)
    return Step(f"x.permute(0, {', '.join(map(str, rest))})")


def _reshaped(rng: random.Random, x: Tensor) -> Step:
    sides = list(x.shape[1:])
    while len(sides) > 1 and rng.random() < 0.5:
        at = rng.randrange(len(sides) - 1)
        sides[at : at + 2] = [sides[at] * sides[at + 1]]
    for divisor in (2, 3, 4):
        at = rng.randrange(len(sides))
        if sides[at] % divisor == 0 and len(sides) < 5 and rng.random() < 0.4:
            sides[at : at + 1] = [divisor, sides[at] // divisor]
    return Step(f"x.reshape(x.shape[0], {', '.join(map(str, sides))})")


RANKS: tuple[Operator, ...] = (
    _plain("x.flatten(2)", "x.flatten(2).transpose(1, 2)", "x.flatten(1)", "x.mean((2, 3))"),
    _plain("x.unsqueeze(2)", "x.unsqueeze(1)", "x.unflatten(1, (2, -1))", "x[..., None]"),
)
_dim = _with()
OPERATORS: tuple[Operator, ...] = (
    _plain("f.relu(x)", "f.relu6(x)", "f.leaky_relu(x, 0.1)", "f.elu(x)", "f.selu(x)", "f.silu(x)"),
    _plain("f.gelu(x)", "f.gelu(x, approximate='tanh')", "f.hardswish(x)", "f.hardsigmoid(x)"),
    _plain("x.sigmoid()", "x.tanh()", "f.softplus(x)", "f.mish(x)", "f.softsign(x)", "f.celu(x)"),
    _plain("x.abs()", "-x", "x.clamp(-0.5, 0.5)", "x.clamp(max=0.3)", "x.clamp(min=-0.2)"),
    _plain("x.square()", "x ** 2", "x ** 3", "x.abs() ** 0.5", "(x.abs() + 0.1).sqrt()"),
    _plain("x.clamp(max=2).exp()", "(x.abs() + 1).log()", "x.sin()", "x.cos()", "x.erf()"),
    _plain("(x.abs() + 1).reciprocal()", "(x.abs() + 1).rsqrt()", "1 / (1 + (-x).exp())"),
    _plain("f.hardtanh(x, -1, 2)", "f.threshold(x, 0.1, 0.0)", "f.logsigmoid(x)", "x.atan()"),
    _with_constant,
    _with_constant,
    _with_constant,
    _plain("x * x.sigmoid()", "x + x.relu()", "torch.maximum(x, x * 2)", "torch.minimum(x, -x)"),
    _plain(
        "x @ x.transpose(-1, -2)", "(x @ x.transpose(-1, -2)).softmax(-1) @ x", "x * x", "x + x"
    ),
    _dim("x - x.amax({dim}, keepdim=True)"),
    _dim("x / (x.abs().sum({dim}, keepdim=True) + 1)"),
    _dim("x * x.mean({dims}, keepdim=True)"),
    _dim("torch.cat([x, x.relu()], {dim})"),
    _dim("torch.stack([x, x.relu()], {dim})"),
    _dim("x.softmax({dim})"),
    _dim("x.log_softmax({dim})"),
    _dim("f.glu(x, {dim})"),
    _dim("f.normalize(x, dim={dim})"),
    _dim("x.cumsum({dim}) * 0.1"),
    _dim("x.flip({dim})"),
    _dim("x.roll(1, {dim})"),
    _dim("x.topk(1, {dim}).values"),
    _dim("x.sort({dim}).values"),
    _dim("x.chunk(2, {dim})[1]"),
    _dim("x.unbind({dim})[0]"),
    _dim("x.repeat_interleave(2, {dim})"),
    _dim("x.argmax({dim}).float()"),
    *(
        _with(keep=(True, False))(f"x.{name}({{{which}}}, keepdim={{keep}})")
        for name, which in (
            *(("mean", "dim"), ("mean", "dims"), ("sum", "dim"), ("sum", "dims")),
            *(("amax", "dim"), ("amin", "dims"), ("var", "dim"), ("std", "dim")),
            *(("logsumexp", "dim"), ("norm", "dim")),
        )
    ),
    _convolution,
    _convolution,
    _convolution,
    _pool,
    _pool,
    _with(size=(1, 2, (3, 4), (1, 5)), kind=("avg", "max"))("f.adaptive_{kind}_pool2d(x, {size})"),
    _with(by=(2, 3, 1.5, 0.5), mode=("nearest", "bilinear", "bicubic", "area", "nearest-exact"))(
        "f.interpolate(x, scale_factor={by}, mode='{mode}')"
    ),
    _with(size=((16, 20), (31, 45), (7, 9)), mode=("bilinear", "bicubic"), ac=(True, False))(
        "f.interpolate(x, {size}, mode='{mode}', align_corners={ac})"
    ),
    _with(pad=((1, 1), (0, 1), (1, 2, 0, 1), (2, 2, 2, 2), (-1, 0, 1, -1)), value=(0.0, 0.5))(
        "f.pad(x, {pad}, value={value})"
    ),
    _with(pad=((1, 2, 0, 1), (2, 2, 2, 2)), mode=("reflect", "replicate", "circular"))(
        "f.pad(x, {pad}, mode='{mode}')"
    ),
    _linear,
    _norm,
    _index,
    _index,
    _permuted,
    _permuted,
    _reshaped,
    _plain("f.pixel_shuffle(x, 2)", "f.pixel_unshuffle(x, 2)", "f.channel_shuffle(x, 2)"),
    _plain("x.repeat(1, *[2] * (x.ndim - 1))", "x.mean()[None, None] + x", "f.instance_norm(x)"),
    _plain("x.transpose(1, -1)", "x.transpose(-1, -2)", "x.squeeze()[None]", "x.unsqueeze(1)"),
    lambda rng, x: Step("f.prelu(x, w[0])", ((x.shape[1],),)),
)
