"""Ultralytics' YOLOv5 files, and weights by name, as models of ours: equal answers, or one line."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from edgeark.zoo import WeightsError, create_model, save_weights, spec_of
from edgeark.zoo.importers import from_ultralytics, import_weights
from edgeark.zoo.yolov5 import COCO_CLASSES
from safetensors.torch import save_file
from support.ultralytics_fakes import (
    ANCHORS,
    Bottleneck,
    Conv,
    DetectionModel,
    Hardswish,
    in_their_places,
    save_checkpoint,
)
from torch import Tensor, nn

V5 = {"base": 32, "release": 5, "depths": (1, 3, 3, 1)}  # a yolov5s of release 5


def their_model(**arguments: Any) -> DetectionModel:
    torch.manual_seed(0)
    return DetectionModel(**arguments).eval()


def halved(model: nn.Module) -> nn.Module:
    """The model as its file has it: rounded to half precision."""
    return copy.deepcopy(model).half().float()


@torch.no_grad()
def check_equal(ours: nn.Module, theirs: nn.Module, tolerance: float = 1e-5) -> None:
    x = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    for found, wanted in zip(ours.eval()(x), theirs(x), strict=True):
        assert wanted.std() > 0.01
        torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(their_model(), tmp_path_factory.mktemp("pt") / "best.pt")


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("yolov5n", {}, {"stem": "6x6", "layout": "v6", "pool": "sppf"}),
        ("yolov5s", V5, {"stem": "focus", "layout": "v5", "pool": "spp"}),
    ],
    ids=["release 6", "release 5"],
)
def test_a_checkpoint_answers_as_its_own_module(
    name: str, arguments: dict, options: dict, tmp_path: Path
) -> None:
    theirs = their_model(**arguments)
    path = save_checkpoint(copy.deepcopy(theirs), tmp_path / "best.pt")
    taken = import_weights(path, name)
    check_equal(taken.model, halved(theirs))
    check_equal(taken.model, theirs, 1e-3)
    spec = spec_of(taken.model)
    assert spec.arguments == {**options, "act": "silu"}
    assert spec.anchors == tuple(tuple(map(tuple, scale)) for scale in ANCHORS.tolist())
    assert (spec.classes, spec.dataset) == (("class 0", "class 1", "class 2"), "custom")
    assert (taken.origin, taken.part, taken.epoch) == ("Ultralytics", "ema", 12)
    assert taken.assumed == ()
    again = create_model(name, weights=save_weights(taken.model, tmp_path / "w.safetensors"))
    assert spec_of(again) == spec
    check_equal(again, taken.model)


def test_the_averaged_weights_come_first(tmp_path: Path) -> None:
    model, ema = their_model(), their_model()
    with torch.no_grad():
        ema.model[24].m[0].bias += 1
    path = save_checkpoint(copy.deepcopy(ema), tmp_path / "last.pt", model=copy.deepcopy(model))
    check_equal(import_weights(path, "yolov5n").model, halved(ema))
    path = save_checkpoint(None, tmp_path / "best.pt", model=copy.deepcopy(model), epoch=-1)
    taken = import_weights(path, "yolov5n")
    check_equal(taken.model, halved(model))
    assert (taken.part, taken.epoch) == ("model", None)


def test_a_module_alone_is_taken(tmp_path: Path) -> None:
    theirs = their_model()
    with in_their_places():
        torch.save(theirs, tmp_path / "m.pt")
    taken = import_weights(tmp_path / "m.pt", "yolov5n")
    check_equal(taken.model, theirs)
    assert taken.part == "module"


@pytest.mark.parametrize("release", [5, 6])
def test_anchors_become_pixels(release: int, tmp_path: Path) -> None:
    anchors = ANCHORS[:, :2] + 0.5
    theirs = their_model(**(V5 if release == 5 else {}), anchors=anchors)
    path = save_checkpoint(theirs, tmp_path / "best.pt")
    model = import_weights(path, "yolov5n" if release == 6 else "yolov5s").model
    assert spec_of(model).anchors == tuple(tuple(map(tuple, s)) for s in anchors.tolist())
    assert torch.equal(model.get_buffer("anchors"), anchors)


@pytest.mark.parametrize(
    ("act", "name"),
    [
        (nn.ReLU(), "relu"),
        (Hardswish(), "hardswish"),
        (nn.Hardswish(), "hardswish"),
        (nn.LeakyReLU(0.1), "leaky_relu"),
    ],
)
def test_the_activation_is_the_files(act: nn.Module, name: str, tmp_path: Path) -> None:
    theirs = their_model(act=act)
    path = save_checkpoint(copy.deepcopy(theirs), tmp_path / "best.pt")
    taken = import_weights(path, "yolov5n")
    assert spec_of(taken.model).arguments["act"] == name
    check_equal(taken.model, halved(theirs))
    with pytest.raises(WeightsError, match=f"trained with {name}, not silu"):
        import_weights(path, "yolov5n", act="silu")


def leak_more(model: DetectionModel) -> None:
    model.model[1].act = nn.LeakyReLU(0.2)


def mix(model: DetectionModel) -> None:
    model.model[1].act = nn.ReLU()


def cut_a_shortcut(model: DetectionModel) -> None:
    model.model[4].m[1].add = False


def add_a_shortcut(model: DetectionModel) -> None:
    model.model[13].m[0].add = True


def pool_wider(model: DetectionModel) -> None:
    model.model[9].m = nn.MaxPool2d(7, 1, 3)


def forget_a_name(model: DetectionModel) -> None:
    model.names = ["one"]


def fuse(model: DetectionModel) -> None:
    for module in model.modules():
        if isinstance(module, Conv):
            del module.bn
            channels = module.conv.out_channels
            module.conv.bias = nn.Parameter(torch.zeros(channels))


def grow(model: DetectionModel) -> None:
    model.model[4].m.append(Bottleneck(32, True))


def drop_the_heads(model: DetectionModel) -> None:
    model.model = model.model[:-1]


def bend_anchors(model: DetectionModel) -> None:
    model.model[24].anchors = torch.full((3, 3, 2), -1.0)


def lose_an_output(model: DetectionModel) -> None:
    model.model[24].m[0] = nn.Conv2d(64, 23, 1)


def four_heads(model: DetectionModel) -> None:
    tail = [nn.Identity() for _ in range(8)]
    model.model = nn.Sequential(*model.model[:-1], *tail, nn.Identity(), model.model[24])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (leak_more, "no single activation of SiLU"),
        (mix, "no single activation"),
        (cut_a_shortcut, r"shortcuts of its own making at 'model\.4\.m\.1"),
        (add_a_shortcut, r"shortcuts of its own making at 'model\.13\.m\.0"),
        (pool_wider, r"max pools of its own making at model\.9"),
        (forget_a_name, "no names for its 3 classes"),
        (fuse, "normalisation is folded"),
        (grow, r"model\.4\.m\.2\.cv1\.\S+ is unknown"),
        (drop_the_heads, "other layers"),
        (bend_anchors, "three scales of anchors"),
        (lose_an_output, "23 outputs for 3 anchors a scale"),
        (four_heads, "four heads"),
    ],
)
def test_what_would_answer_otherwise_is_one_line(
    change: Callable[[DetectionModel], None], message: str, tmp_path: Path
) -> None:
    theirs = their_model()
    change(theirs)
    path = save_checkpoint(theirs, tmp_path / "best.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        import_weights(path, "yolov5n")
    assert "\n" not in str(caught.value)


def test_another_size_than_expected_is_named(checkpoint: Path) -> None:
    found = r"best\.pt is a yolov5n \(width 0\.25, depth 0\.33\), no yolov5s"
    with pytest.raises(WeightsError, match=found):
        import_weights(checkpoint, "yolov5s")


def test_coco_is_known_by_its_names(tmp_path: Path) -> None:
    theirs = their_model(nc=80)
    theirs.names = list(COCO_CLASSES)
    path = save_checkpoint(copy.deepcopy(theirs), tmp_path / "best.pt")
    assert spec_of(import_weights(path, "yolov5n").model).dataset == "coco"
    theirs.names = list(reversed(COCO_CLASSES))
    spec = spec_of(import_weights(save_checkpoint(theirs, path), "yolov5n").model)
    assert (spec.dataset, spec.classes[0]) == ("custom", COCO_CLASSES[-1])


def as_numpy(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in state.items()}


def write_pickle(protocol: int) -> Callable[[dict[str, Tensor], Path], object]:
    def write(state: dict[str, Tensor], path: Path) -> None:
        arrays = {key: np.asfortranarray(value) for key, value in as_numpy(state).items()}
        path.write_bytes(pickle.dumps(arrays, protocol))

    return write


@pytest.mark.parametrize(
    ("suffix", "write", "arguments"),
    [
        (".pt", torch.save, {}),
        (".pth", lambda state, path: torch.save({"state_dict": state, "epoch": 3}, path), V5),
        (".safetensors", save_file, {}),
        (".npz", lambda state, path: np.savez(path, **as_numpy(state)), V5),
        (".npz", lambda state, path: np.savez_compressed(path, **as_numpy(state)), {}),
        (".pkl", write_pickle(2), {}),
        (".pkl", write_pickle(4), V5),
        (".pkl", write_pickle(5), {}),
    ],
    ids=["pt", "nested", "safetensors", "npz", "packed npz", "pkl 2", "pkl 4", "pkl 5"],
)
def test_tensors_by_name_are_enough(
    suffix: str, write: Callable[[dict, Path], object], arguments: dict, tmp_path: Path
) -> None:
    theirs = their_model(**arguments, act=nn.ReLU())
    path = tmp_path / f"weights{suffix}"
    write({key: value.contiguous() for key, value in theirs.state_dict().items()}, path)
    taken = import_weights(path, "yolov5s" if arguments else "yolov5n", act="relu")
    check_equal(taken.model, theirs)
    assert taken.assumed == ("classes",)
    assert spec_of(taken.model).classes == ("0", "1", "2")


def test_what_a_state_dict_does_not_say_is_assumed_and_named(tmp_path: Path) -> None:
    torch.save(their_model(nc=80).state_dict(), tmp_path / "w.pt")
    taken = import_weights(tmp_path / "w.pt", "yolov5n")
    assert taken.assumed == ("act", "classes")
    assert spec_of(taken.model).classes == COCO_CLASSES


def test_older_blocks_are_named(tmp_path: Path) -> None:
    state = {**their_model().state_dict(), "model.2.cv4.conv.weight": torch.zeros(1)}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(WeightsError, match="release 3 or older"):
        import_weights(tmp_path / "w.pt", "yolov5n")


@pytest.mark.parametrize("name", ["model.0.conv.weight", "model.24.m.0.weight", "model.24.anchors"])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 1, 1, 1)])
def test_tensors_of_odd_shapes_are_one_line(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    np.savez(
        tmp_path / "w.npz", **{**as_numpy(their_model().state_dict()), name: np.ones(shape, "f4")}
    )
    with pytest.raises(WeightsError) as caught:
        import_weights(tmp_path / "w.npz", "yolov5n")
    assert "\n" not in str(caught.value)


def test_other_origins_go_by_the_models_family(tmp_path: Path) -> None:
    theirs = torchvision.models.mobilenet_v2(num_classes=7).eval()
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    taken = import_weights(tmp_path / "w.pth", "mobilenet_v2_100")
    assert (taken.origin, taken.assumed) == ("torchvision", ("classes", "mean", "std"))
    assert spec_of(taken.model).mean == (123.675, 116.28, 103.53)
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        found = taken.model.eval()(x).flatten(1)
        torch.testing.assert_close(found, theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenet_v1_100", r"classifier\.weight is missing"),
        ("vgg16_bn", r"classifier\.6\.weight is missing"),
        ("mnist", "no weights of another origin are known for mnist"),
    ],
)
def test_a_file_of_another_family_is_one_line(name: str, message: str, checkpoint: Path) -> None:
    with pytest.raises(WeightsError, match=message):
        import_weights(checkpoint, name)


def test_rules_are_for_yolov5_alone() -> None:
    with pytest.raises(WeightsError, match="no rules for Mnist"):
        from_ultralytics(create_model("mnist"), {})
