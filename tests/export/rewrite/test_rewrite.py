"""What a rewrite says, keeps and leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from edgeark.export.check import check_model
from edgeark.export.lint.shared_examples import sample
from edgeark.export.rewrite import RewriteError, engine, rewrite
from edgeark.export.rewrite.rule import RewriteRule, rewrites
from edgeark.export.targets import every_target, find_targets
from support.rewriting import rewritten, same
from support.tries import Function
from torch import Tensor, nn
from torch.nn import functional as f


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


@pytest.mark.parametrize(
    ("target", "change"),
    [
        ("opencv", "index is now an index_select of constant places, counted from the front"),
        ("ncnn", "index is now a 1x1 convolution that picks channels"),  # has no index_select
    ],
)
def test_an_index_list_made_in_forward_is_a_constant(target: str, change: str) -> None:
    done = same(lambda x: x[:, torch.tensor([0, 2, 5, 7])].relu(), torch.randn(1, 8, 5, 6), target)
    assert [each.done for each in done.changes] == [change]


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
