"""What is rewritten is equal, the rules find nothing more, and the engine computes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from edgeark.export.backends.onnxruntime.target import OnnxRuntime
from edgeark.export.check import check_model
from edgeark.export.graph.files import Graph
from edgeark.export.lint.shared_examples import sample
from edgeark.export.results.compare import compare
from edgeark.export.rewrite import RewriteError, Rewritten, engine, rewrite
from edgeark.export.rewrite.rule import RewriteRule, rewrites
from edgeark.export.targets import every_target, find_target, find_targets
from edgeark.export.targets.base import Conversion
from edgeark.export.targets.isolated import WorkerTarget
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.settled import SPEC, make_images
from support.target_base import installed_target
from support.tries import Between, Function, try_networks
from torch import Tensor, nn
from torch.nn import functional as f

# What has no rule, as findings say it
_UNKNOWN = ["col2im", "diagonal", "__lshift__", "__rshift__"]
LEFT = {
    "mnn": {
        *["atan2", "isnan", "nan_to_num", "xlogy", "col2im", "fmod", "index_put"],
        *(
            "an LSTM",
            "eq of floats",
            "ne of floats",
            "bicubic grid_sample",
            "grid_sample with reflection",
        ),
    },
    "openvino": {f"{kind} between two max pools" for kind in ("gelu", "silu", "hardswish")},
    "onnxruntime": set(),
    "opencv": {
        *_UNKNOWN,
        *[
            "conv_transpose3d",
            "max_pool2d_with_indices",
            "grid_sampler",
            "tril",
            "triu",
            "bitwise_not",
        ],
        *["isinf", "isfinite", "isnan", "atan2", "nan_to_num", "xlogy"],
        "a floor division of integers",
        "the logarithm of a sum with an exponential",
        "a transposed convolution with dilation (2, 2)",
        "an output of 1",
    },
    "opencv5": {
        *_UNKNOWN,
        *("gru", "max_unpool2d", "trace", "bicubic grid_sample", "a floor division of integers"),
        "the logarithm of a sum with an exponential",
    },
}


def rewritten(function: Function, *targets: str) -> Rewritten:
    return rewrite(Between(function), SPEC.input_shape, [find_target(name) for name in targets])


def rewritten_examples(name: str) -> tuple[list[Rewritten], set[str]]:
    """Of a target: the bad examples of which nothing is left, and what is left of others."""
    done, left, target = [], set(), find_target(name)
    for example in dict.fromkeys(e for rule in target.rules() for e in rule.examples):
        one = rewrite(example.network("bad"), example.input_shape("bad"), [target])
        left |= {finding.reason.partition(": ")[0] for finding in one.left}
        done += [] if one.left else [one]
    return done, left


@pytest.mark.parametrize("name", ["mnn", "openvino", "opencv", "opencv5"])
def test_the_engine_computes_what_is_rewritten(name: str, tmp_path: Path) -> None:
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    done, left = rewritten_examples(name)
    assert left == LEFT[name]
    tried = try_networks(target, [(one.model, SPEC) for one in done], tmp_path)
    wrong = [(one.changes, t) for one, t in zip(done, tried, strict=True)]
    assert [(changes, t) for changes, t in wrong if t.error or t.sqnr_db < 75] == []


def test_onnxruntime_computes_what_is_rewritten(tmp_path: Path) -> None:
    done, left = rewritten_examples("onnxruntime")
    assert left == LEFT["onnxruntime"]
    images, target = make_images(4, SPEC.input_shape[1:], seed=0), OnnxRuntime()
    for index, one in enumerate(done):
        folder = tmp_path / str(index)
        folder.mkdir()
        graph = Graph(one.model, SPEC, folder)
        artifact = target.convert(Conversion(graph, "float32", folder, folder / "log.txt"))
        outputs = target.run(artifact, images, folder / "log.txt").outputs
        assert compare(graph.reference(images), outputs).sqnr_db > 75, one.changes


def same(function: Function, x: Tensor, *targets: str) -> Rewritten:
    """Rewritten until nothing is left, and equal, on two images at a time as well."""
    done = rewrite(_Whole(function), x.shape, find_targets(",".join(targets)))
    assert done.changes and not done.left
    assert not check_model(done.model, x.shape, find_targets(",".join(targets)))
    for image in (x, torch.cat((x, -x))):
        torch.testing.assert_close(done.model(image), function(image), rtol=1e-4, atol=1e-5)
    return done


class _Whole(nn.Module):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


few = settings(max_examples=12)  # each is traced twice
SIDES = st.tuples(st.integers(2, 13), st.integers(2, 13))
FACTORS = st.tuples(st.floats(0.5, 3), st.floats(0.5, 3))


@few
@given(SIDES, SIDES | FACTORS, st.sampled_from(["bicubic", "bilinear"]), st.booleans())
def test_interpolation_is_a_product_on_each_side(
    before: tuple[int, int], after: tuple[float, float], mode: str, is_filtered: bool
) -> None:
    """Of any size or factor, with aligned corners or a filter or neither."""
    assume(mode == "bicubic" or is_filtered)  # opencv has the rest
    assume(mode == "bicubic" or any(m < n for n, m in zip(before, after, strict=True)))
    if isinstance(after[0], float):
        assume(mode == "bicubic" or all(factor < 1 for factor in after))
    if is_filtered:  # of one pixel PyTorch 2.15 makes this or that, as the map lies in memory
        sizes = [n * factor for n, factor in zip(before, after, strict=True)]
        assume(min(after if isinstance(after[0], int) else sizes) >= 2)
    how = "size" if isinstance(after[0], int) else "scale_factor"
    options: dict[str, Any] = {how: after, "mode": mode, "antialias": is_filtered}
    same(lambda x: f.interpolate(x, **options), torch.randn(1, 3, *before), "opencv")


@few
@given(SIDES, SIDES)
def test_uneven_pools_are_products(before: tuple[int, int], after: tuple[int, int]) -> None:
    assume(any(n % m for n, m in zip(before, after, strict=True)))
    x = torch.randn(1, 3, *before)
    same(lambda x: f.adaptive_avg_pool2d(x, after), x, "opencv")


@few
@given(SIDES, st.integers(2, 4), st.integers(1, 3), st.booleans(), st.booleans(), st.data())
def test_averages_are_plain_pools(
    before: tuple[int, int],
    kernel: int,
    stride: int,
    is_cut: bool,
    is_counted: bool,
    data: st.DataObject,
) -> None:
    padding = data.draw(st.integers(0, kernel // 2))
    assume(min(before) + 2 * padding >= kernel)
    pool = nn.AvgPool2d(kernel, stride, padding, is_cut, is_counted, divisor_override=kernel + 1)
    same(pool, torch.randn(1, 3, *before), "opencv", "opencv5", "openvino")
    pool.divisor_override = None
    x = torch.randn(1, 3, *before)
    if check_model(pool, x.shape, targets := find_targets("opencv5,openvino,ncnn")):
        assert not rewrite(pool, x.shape, targets).left


@few
@given(SIDES, st.integers(2, 3), st.integers(1, 3), st.integers(2, 3), st.booleans(), st.data())
def test_dilated_pools_are_maxima_of_slices(
    before: tuple[int, int],
    kernel: int,
    stride: int,
    dilation: int,
    is_cut: bool,
    data: st.DataObject,
) -> None:
    padding = data.draw(st.integers(0, kernel // 2))
    assume(min(before) > dilation * (kernel - 1))  # no window is padding alone
    pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=is_cut)
    same(pool, torch.randn(1, 3, *before), "mnn")


@few
@given(
    SIDES,
    st.lists(st.integers(-2, 3), min_size=4, max_size=4),
    st.sampled_from(["constant", "circular", "replicate"]),
)
def test_padding_is_slices_or_places(before: tuple[int, int], sides: list[int], mode: str) -> None:
    height, width = before
    assume(width + sum(sides[:2]) > 0 and height + sum(sides[2:]) > 0)
    assume(mode == "constant" or min(sides) >= 0)
    assume(max(sides) <= min(before))

    def pad(x: Tensor) -> Tensor:
        return f.pad(x, sides, mode)

    x = torch.randn(1, 3, *before)
    if check_model(_Whole(pad), x.shape, find_targets("opencv,coreml,mnn")):
        same(pad, x, "opencv", "coreml", "mnn")


@pytest.mark.parametrize(
    ("function", "target"),
    [
        (lambda x: f.pixel_unshuffle(x, 2), "coreml"),
        (lambda x: torch.channel_shuffle(x, 2), "coreml"),
        (lambda x: torch.addcmul(x, x, x.abs()), "coreml"),
        (f.celu, "coreml"),
        (f.hardshrink, "coreml"),
        (f.softshrink, "coreml"),
        (f.logsigmoid, "coreml"),
        (lambda x: torch.lerp(x, -x, x.abs()), "coreml"),
        (lambda x: x[..., ::2, 1::2], "ncnn"),
        (lambda x: x[:, :, 3:9:4], "executorch"),
        (lambda x: f.max_pool2d(x, 3, 1, 1).softmax(3), "executorch"),
        (lambda x: x.mean((2, 3)), "ethos-u:u55-128"),
        (lambda x: f.layer_norm(x, x.shape[1:]), "ncnn"),
        (lambda x: f.max_pool2d(x, 2), "ncnn"),
        (lambda x: x.std((2, 3), keepdim=True), "ncnn"),
        (lambda x: x.var((1, 2, 3), correction=0, keepdim=True), "opencv"),
        (lambda x: x.rot90(-1, (2, 3)), "opencv"),
        (lambda x: x.logsumexp((1, 2)), "mnn"),
        (lambda x: f.interpolate(x, scale_factor=2, mode="nearest-exact"), "coreml"),
    ],
)
def test_other_forms_are_equal(function: Function, target: str) -> None:
    for _ in range(3):
        same(function, 3 * torch.randn(1, 4, 12, 20), target)


def test_a_change_says_where_and_what() -> None:
    done = rewrite(_Named(), (1, 3, 16, 16), find_targets("mnn"))
    seen = [(c.rule, c.module, Path(c.source).name.partition(":")[0]) for c in done.changes]
    assert seen == [("unknown-operator", "act", Path(__file__).name)]
    assert "softplus" in done.changes[0].done
    assert 0 <= done.max_abs_error < 1e-5


class _Named(nn.Module):
    """A tied parameter, a frozen normalisation, an operator in place, several outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.tied = nn.Conv2d(3, 4, 3)
        self.tied.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.Mish()

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.act(self.norm(self.conv(x)))
        y += 1
        return {"maps": [y, self.tied(x).relu_()], "mean": (y.mean((2, 3), True),)}


def test_the_original_stays_and_shares_its_parameters() -> None:
    model = _Named().train()
    done = rewrite(model, (1, 3, 16, 16), find_targets("mnn"))
    assert model.training and not done.model.training
    names = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in done.model.named_parameters():
        assert names[name] is parameter
    assert set(done.model.state_dict()) <= set(model.state_dict())


def test_what_writes_over_a_map_does_not_reach_a_slice_of_it() -> None:
    """The rule of a negative padding is a view, where a copy was."""

    def crop(x: Tensor) -> Tensor:
        y = x * 1
        return f.pad(y, (-1, -1)).relu_().sum((2, 3)) + y.sum((2, 3))

    same(crop, torch.randn(1, 3, 8, 8), "opencv")


def test_a_mend_that_leads_to_another_finding_is_not_kept() -> None:
    """ncnn and OpenCV have no dilated pools, and ncnn no slices with a step either."""
    pool = nn.MaxPool2d(2, 2, dilation=2)
    both = rewrite(pool, (1, 3, 16, 16), find_targets("ncnn,opencv"))
    assert not both.changes and {f.rule for f in both.left} == {"dilated-pool"}
    assert not rewrite(pool, (1, 3, 16, 16), find_targets("opencv")).left


def test_what_only_warns_is_mended_by_what_was_seen_to_help() -> None:
    """Nearest resizing is slow on ExecuTorch; so may be what takes places from a list."""
    double = nn.Upsample(scale_factor=2)
    done = rewrite(double, (1, 3, 8, 8), find_targets("executorch"))
    assert not done.changes and [f.rule for f in done.left] == ["portable-resize"]


def test_a_wrong_mend_is_our_fault_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = RewriteRule(("mish",), "something else", ("unknown-operator",), lambda x: x.relu())
    monkeypatch.setattr(engine, "rewrites", lambda: (wrong,))
    with pytest.raises(RewriteError, match="a fault of edgeark's"):
        rewrite(nn.Mish(), (1, 3, 8, 8), find_targets("mnn"))


def test_every_rewrite_serves_rules_that_exist() -> None:
    names = {rule.name for target in every_target() for rule in target.rules()}
    assert [
        (one.operators, {*one.serves} - names) for one in rewrites() if {*one.serves} - names
    ] == []


class _Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_Branching(), r"test_rewrite.py:\d+: no static graph"),
        (nn.ModuleDict({"class": nn.Conv2d(3, 4, 1)}), "no static graph"),
        (nn.Sequential(), ""),
    ],
)
def test_what_cannot_be_rewritten_gets_one_line(model: nn.Module, words: str) -> None:
    if not words:
        assert not rewrite(model, (1, 3, 8, 8), find_targets("mnn")).changes
        return
    with pytest.raises(RewriteError, match=words) as error:
        rewrite(model, (1, 3, 8, 8), find_targets("mnn"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["class", "a b", "a\"); print('no') #"])
def test_names_that_code_cannot_have_are_refused(key: str) -> None:
    class Keyed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleDict({key: nn.Conv2d(3, 4, 1)})

        def forward(self, x: Tensor) -> Tensor:
            return self.parts[key](x)

    with pytest.raises(RewriteError, match="rename the module"):
        rewrite(Keyed(), (1, 3, 8, 8), find_targets("mnn"))


MOBILE = "opencv,opencv5,mnn,onnxruntime,openvino,ncnn"


def test_mobilenet_v3_fits_every_cpu_engine() -> None:
    model = torchvision.models.mobilenet_v3_small(weights=None)
    assert check_model(model, (1, 3, 64, 64), find_targets(MOBILE))
    done = rewrite(model, (1, 3, 64, 64), find_targets(MOBILE))
    assert {c.rule for c in done.changes} == {"hardsigmoid-gate"} and not done.left
    assert not check_model(done.model, (1, 3, 64, 64), find_targets(MOBILE))


def test_places_that_a_image_decides_are_left() -> None:
    done = rewritten(lambda x: x[:, x.mean((0, 2, 3)).argsort()], "opencv")
    assert not done.changes and {f.reason.partition(": ")[0] for f in done.left} >= {"index"}


def test_what_is_left_keeps_its_words() -> None:
    done = rewritten(lambda x: sample(x, "bicubic", "zeros"), "mnn")
    (finding,) = done.left
    assert (finding.rule, done.changes) == ("grid-sample-mode", ())
    assert finding.fix == "use bilinear, with zeros or border"


def test_an_index_list_made_in_forward_is_a_constant() -> None:
    done = same(lambda x: x[:, torch.tensor([0, 2, 5, 7])].relu(), torch.randn(1, 8, 5, 6), "ncnn")
    assert [change.done for change in done.changes] == [
        "index is now an index_select of constant places, counted from the front"
    ]


@pytest.mark.parametrize(
    ("pads", "groups"),
    [
        *[((0, 1, 0, 1), 1), ((0, 1, 0, 1), 8), ((1, 0, 0, 1), 1), ((0, 1, 1, 0), 8)],
        *[((1, 0, 1, 0), 1), ((1, 1, 1, 1), 1)],
    ],
)
def test_padding_on_some_sides_becomes_a_convolutions_own(
    pads: tuple[int, ...], groups: int
) -> None:
    """Keras's "same" convolution of stride 2, and others like it, on the K210."""
    weight, bias = torch.randn(8, 8 // groups, 3, 3), torch.randn(8)
    same(
        lambda x: f.conv2d(f.pad(x, pads), weight, bias, 2, groups=groups),
        torch.randn(1, 8, 8, 12),
        "k210",
    )


class Tokens(nn.Module):
    """A class token in front of patches, and attention, as in ViT."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24)
        self.token = nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1)
        qkv = self.qkv(x).reshape(x.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = ((q @ k.transpose(-2, -1)).softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        return f.gelu(x)


def test_what_is_rewritten_takes_any_batch() -> None:
    torch.manual_seed(0)
    same(Tokens().eval(), torch.randn(1, 3, 12, 8), "opencv")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.minimum(x, torch.tensor(0.5)),
        lambda x: torch.minimum(torch.linspace(-1, 1, 8).view(1, 8, 1, 1), x),
        lambda x: torch.minimum(x, x.relu() * 0.5),
        lambda x: torch.maximum(x, torch.tensor(0.5)),
        lambda x: x.flip(1),
        lambda x: x * x.amax((-1, -2), True),
    ],
)
def test_what_a_small_npu_leaves_to_its_cpu_stays(function: Function) -> None:
    same(function, torch.randn(1, 8, 5, 6), "rknn:rv1106")
