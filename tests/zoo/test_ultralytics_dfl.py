"""Ultralytics' YOLOv8 and YOLO11 files as models of ours: equal answers, or one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.zoo import WeightsError, create_model, save_weights, spec_of
from edgeark.zoo.coco import COCO_CLASSES
from edgeark.zoo.importers import from_ultralytics_dfl, import_weights
from support.ultralytics_dfl_fakes import PLACES, DetectionModel
from support.ultralytics_fakes import Conv, save_checkpoint
from torch import nn

MEMBERS = {"yolov8n": False, "yolo11n": True}


def their_model(name: str, nc: int = 3) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(MEMBERS[name], nc).eval()


def save(ema: nn.Module | None, path: Path, **changes: object) -> Path:
    return save_checkpoint(copy.deepcopy(ema), path, PLACES, **changes)


@torch.no_grad()
def check_equal(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-5) -> None:
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    for found, wanted in zip(ours.eval()(x), theirs(x), strict=True):
        assert wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MEMBERS)
def test_a_checkpoint_answers_as_its_own_module(name: str, tmp_path: Path) -> None:
    theirs = their_model(name)
    taken = import_weights(save(theirs, tmp_path / "best.pt"), name)
    check_equal(taken.model, copy.deepcopy(theirs).half().float())
    check_equal(taken.model, theirs, 2e-2)
    spec = spec_of(taken.model)
    assert spec.arguments == {"act": "silu"}
    assert (spec.classes, spec.dataset) == (("class 0", "class 1", "class 2"), "custom")
    assert (taken.origin, taken.part, taken.epoch) == ("Ultralytics", "ema", 12)
    assert taken.assumed == ()
    again = create_model(name, weights=save_weights(taken.model, tmp_path / "w.safetensors"))
    assert spec_of(again) == spec
    check_equal(again, taken.model)


def test_the_averaged_weights_come_first_and_a_stripped_file_has_them_alone(tmp_path: Path) -> None:
    model, ema = their_model("yolov8n"), their_model("yolov8n")
    with torch.no_grad():
        ema.model[22].cv3[0][2].bias += 1
    path = save(ema, tmp_path / "last.pt", model=model)
    check_equal(import_weights(path, "yolov8n").model, copy.deepcopy(ema).half().float())
    taken = import_weights(save(None, tmp_path / "best.pt", model=model, epoch=-1), "yolov8n")
    check_equal(taken.model, copy.deepcopy(model).half().float())
    assert (taken.part, taken.epoch) == ("model", None)


@pytest.mark.parametrize("name", MEMBERS)
def test_tensors_by_name_are_enough(name: str, tmp_path: Path) -> None:
    theirs = their_model(name, 80)
    torch.save(theirs.state_dict(), tmp_path / "w.pt")
    taken = import_weights(tmp_path / "w.pt", name)
    check_equal(taken.model, theirs)
    assert taken.assumed == ("act", "classes")
    assert (spec_of(taken.model).classes, spec_of(taken.model).dataset) == (COCO_CLASSES, "coco")


def test_the_activation_is_the_files(tmp_path: Path) -> None:
    theirs = their_model("yolo11n")
    for module in theirs.modules():
        if isinstance(module, Conv) and not isinstance(module.act, nn.Identity):
            module.act = nn.ReLU()  # type: ignore[assignment]
    path = save(theirs, tmp_path / "best.pt")
    taken = import_weights(path, "yolo11n")
    assert spec_of(taken.model).arguments == {"act": "relu"}
    check_equal(taken.model, copy.deepcopy(theirs).half().float())
    with pytest.raises(WeightsError, match="trained with relu, not silu"):
        import_weights(path, "yolo11n", act="silu")


def mix(model: DetectionModel) -> None:
    model.model[1].act = nn.ReLU()


def activate_attention(model: DetectionModel) -> None:
    model.model[10].m[0].attn.proj.act = nn.SiLU()


def cut_a_shortcut(model: DetectionModel) -> None:
    model.model[4].m[0].add = False


def cut_attentions_shortcut(model: DetectionModel) -> None:
    model.model[10].m[0].add = False


def pool_wider(model: DetectionModel) -> None:
    model.model[9].m = nn.MaxPool2d(7, 1, 3)


def pool_again(model: DetectionModel) -> None:
    model.model[9].n = 4


def add_past_the_pools(model: DetectionModel) -> None:
    model.model[9].add = True


def stride_less(model: DetectionModel) -> None:
    model.model[3].conv.stride = (1, 1)


def forget_a_name(model: DetectionModel) -> None:
    model.names = {0: "one"}


def fuse(model: DetectionModel) -> None:
    for module in model.modules():
        if isinstance(module, Conv):
            del module.bn
            module.conv.bias = nn.Parameter(torch.zeros(module.conv.out_channels))


def mask(model: DetectionModel) -> None:
    model.model[23].cv4 = nn.ModuleList([Conv(64, 32, 3)])


def bend_the_bins(model: DetectionModel) -> None:
    model.model[23].dfl.conv.weight.data += 1


def fewer_bins(model: DetectionModel) -> None:
    for i in range(3):
        model.model[23].cv2[i][2] = nn.Conv2d(64, 32, 1)


def drop_the_heads(model: DetectionModel) -> None:
    model.model = model.model[:-1]


def grow(model: DetectionModel) -> None:
    model.model[4].m.append(copy.deepcopy(model.model[4].m[0]))


def cut_queries(model: DetectionModel) -> None:
    model.model[10].m[0].attn.qkv.conv = nn.Conv2d(128, 255, 1, bias=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (mix, "no single activation"),
        (activate_attention, "activations in its attention"),
        (cut_a_shortcut, r"shortcuts of its own making at 'model\.4\.m\.0"),
        (cut_attentions_shortcut, r"shortcuts of its own making at 'model\.10\.m\.0"),
        (pool_wider, r"max pools of its own making at model\.9"),
        (pool_again, r"max pools of its own making at model\.9"),
        (add_past_the_pools, r"shortcuts of its own making at 'model\.9'"),
        (stride_less, r"strides of its own making at model\.3"),
        (forget_a_name, "no names for its 3 classes"),
        (fuse, "normalisation is folded"),
        (mask, "more than detect"),
        (bend_the_bins, "other bins than 0 to 15"),
        (fewer_bins, "other bins than 0 to 15"),
        (drop_the_heads, "other layers"),
        (grow, r"model\.4\.m\.1\.cv1\.\S+ is unknown"),
        (cut_queries, r"model\.10\.m\.0\.attn\.qkv\.query\.conv\.weight is missing"),
    ],
)
def test_what_would_answer_otherwise_is_one_line(
    change: Callable[[DetectionModel], None], message: str, tmp_path: Path
) -> None:
    theirs = their_model("yolo11n")
    change(theirs)
    path = save(theirs, tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(path, "yolo11n")
    assert "\n" not in str(caught.value)


def test_a_shortcut_in_the_neck_of_a_yolov8_is_refused(tmp_path: Path) -> None:
    theirs = their_model("yolov8n")
    theirs.model[12].m[0].add = True
    path = save(theirs, tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=r"shortcuts of its own making at 'model\.12\.m\.0"):
        import_weights(path, "yolov8n")


@pytest.mark.parametrize(
    ("name", "wanted", "message"),
    [
        ("yolov8n", "yolov8s", r"best\.pt is a yolov8n, no yolov8s"),
        ("yolo11n", "yolo11x", r"best\.pt is a yolo11n, no yolo11x"),
        ("yolov8n", "yolo11n", "is no YOLO11 that can be read: it has other layers"),
        ("yolo11n", "yolov8n", "is no YOLOv8 that can be read: it has other layers"),
        ("yolo11n", "yolov5n", "is no YOLOv5 that can be read: it has other layers"),
    ],
)
def test_another_network_than_expected_is_named(
    name: str, wanted: str, message: str, tmp_path: Path
) -> None:
    path = save(their_model(name), tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=message):
        import_weights(path, wanted)


def test_coco_is_known_by_its_names(tmp_path: Path) -> None:
    theirs = their_model("yolov8n", 80)
    theirs.names = dict(enumerate(COCO_CLASSES))
    spec = spec_of(import_weights(save(theirs, tmp_path / "a.pt"), "yolov8n").model)
    assert (spec.dataset, spec.classes) == ("coco", COCO_CLASSES)


@pytest.mark.parametrize(
    "key", ["model.0.conv.weight", "model.23.cv2.0.2.weight", "model.10.cv1.bn.bias"]
)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1, 1)])
def test_tensors_of_odd_shapes_are_one_line(
    key: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    state = {k: v.numpy() for k, v in their_model("yolo11n").state_dict().items()}
    np.savez(tmp_path / "w.npz", **{**state, key: np.ones(shape, "f4")})
    with pytest.raises(WeightsError) as caught:
        import_weights(tmp_path / "w.npz", "yolo11n")
    assert "\n" not in str(caught.value)


def test_attention_fits_no_network_without_it() -> None:
    model = create_model("yolo11n", num_classes=3, attention=False)
    with pytest.raises(WeightsError, match="build it with attention=True"):
        from_ultralytics_dfl(model, their_model("yolo11n").state_dict())
    with pytest.raises(WeightsError, match="no rules for Mnist"):
        from_ultralytics_dfl(create_model("mnist"), {})
