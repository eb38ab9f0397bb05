"""Images with masks: two data sets, sizes, broken files, splits that part no object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import DataError
from edgeark.training.config import AugmentConfig
from edgeark.training.data import ImageSet, load_images
from edgeark.training.data.augment import random_affine, random_flip, random_gamma, random_rot90
from edgeark.training.data.images import held_out_ranges
from edgeark.training.data.masks import resize_indices, resize_marks
from edgeark.training.unet import augment
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

SHAPE = (1, 8, 8)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def half_marked(value: int = 255, size: tuple[int, int] = (16, 12)) -> np.ndarray:
    """The left half has the value."""
    mask = np.zeros(size, np.uint8)
    mask[:, : size[1] // 2] = value
    return mask


def write_pair(folder: Path, name: str, mask: np.ndarray) -> None:
    save(folder / "images" / f"{name}.jpg", np.full(mask.shape, 90))
    save(folder / "masks" / f"{name}.png", mask)


def test_a_folder_with_masks_is_a_data_set(tmp_path: Path) -> None:
    for number in range(10):
        write_pair(tmp_path, f"p{number}", half_marked(255 if number % 2 else 0))
    parts = [load_images("mask_folder", s, tmp_path, shape=SHAPE) for s in ("train", "test")]
    assert [len(part) for part in parts] == [8, 2]
    for part in parts:
        assert part.classes == ("foreground",)
        assert part.labels.dtype == np.uint8 and part.labels.shape == (len(part), 8, 8)
        assert part.images.shape == (len(part), *SHAPE)
    marks = np.concatenate([part.labels for part in parts])
    assert sorted(marks.sum(axis=(1, 2)).tolist()) == [0] * 5 + [32] * 5
    assert marks.max(axis=0)[:, :4].all() and not marks[:, :, 4:].any()


def test_folders_named_train_and_test_are_the_split(tmp_path: Path) -> None:
    write_pair(tmp_path / "train", "a", half_marked())
    for name in ("b", "c"):
        write_pair(tmp_path / "test", name, half_marked())
    assert len(load_images("mask_folder", "train", tmp_path, shape=SHAPE)) == 1
    assert load_images("mask_folder", "test", tmp_path).images.shape == (2, 3, 16, 12)


def test_a_split_file_is_followed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_pair(tmp_path, name, half_marked())
    suffix = next((tmp_path / "images").iterdir()).suffix
    lines = [f"train\timages/a{suffix}", f"test\timages/b{suffix}", f"test\timages/c{suffix}"]
    (tmp_path / "split.tsv").write_text("\n".join(lines))
    parts = [load_images("mask_folder", s, tmp_path, shape=SHAPE) for s in ("train", "test")]
    assert [len(part) for part in parts] == [1, 2]


@pytest.mark.parametrize("value", [1, 200, 255])
def test_marks_are_ones_or_over_half_of_255(value: int, tmp_path: Path) -> None:
    mask = half_marked(value)
    if value > 1:
        mask[0, -1] = 60  # noise of a lossy file
    write_pair(tmp_path / "train", "a", mask)
    (tmp_path / "test").mkdir()
    found = load_images("mask_folder", "train", tmp_path, shape=(1, 16, 12))
    assert np.array_equal(found.labels[0], half_marked(1))


def test_a_file_of_classes_makes_indices(tmp_path: Path) -> None:
    mask = half_marked(2)
    mask[8:, 6:] = 1
    write_pair(tmp_path / "train", "a", mask)
    palette = Image.fromarray(mask, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    save(tmp_path / "train/images/b.png", mask)
    palette.save(tmp_path / "train/masks/b.png")
    (tmp_path / "test").mkdir()
    with pytest.raises(DataError, match=r"values up to 2: name its classes in classes\.txt"):
        load_images("mask_folder", "train", tmp_path)
    (tmp_path / "classes.txt").write_text("background\nscratch\ndent\n")
    found = load_images("mask_folder", "train", tmp_path, shape=(1, 16, 12))
    assert found.classes == ("background", "scratch", "dent")
    assert np.array_equal(found.labels, [mask, mask])
    (tmp_path / "classes.txt").write_text("background\nscratch\n")
    with pytest.raises(DataError, match=r"has the value 2, classes\.txt names 2 classes"):
        load_images("mask_folder", "train", tmp_path)


def test_broken_and_missing_masks_are_left_out_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("good", "lost", "cut", "small", "colours"):
        write_pair(tmp_path / "train", name, half_marked())
    (tmp_path / "test").mkdir()
    masks = tmp_path / "train/masks"
    (masks / "lost.png").unlink()
    (masks / "cut.png").write_bytes((masks / "cut.png").read_bytes()[:40])
    save(masks / "small.png", half_marked(size=(4, 4)))
    colours = np.zeros((16, 12, 3))
    colours[0, 0], colours[1, 1] = (255, 0, 0), (0, 255, 0)
    save(masks / "colours.png", colours)
    found = load_images("mask_folder", "train", tmp_path, shape=SHAPE)
    assert len(found) == 1 and found.labels.sum() == 32
    assert "4 of 5 train images cannot be read and are left out" in caplog.text
    assert all(f"images/{n}.jpg" in caplog.text for n in ("colours", "cut", "lost", "small"))
    (tmp_path / "train/images/good.jpg").unlink()
    with pytest.raises(DataError, match=r"none of 4 images .*colours.jpg: a mask of 3 colours"):
        load_images("mask_folder", "train", tmp_path, shape=SHAPE)


@pytest.mark.parametrize("data", [None, Path("nowhere")])
def test_the_folder_must_be_named(data: Path | None) -> None:
    with pytest.raises(DataError, match="name the folder of your images with --data"):
        load_images("mask_folder", "train", data)


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .*images"):
        load_images("mask_folder", "train", tmp_path)


def write_tiles(root: Path, name: str, numbers: range) -> list[str]:
    stems = [f"MT_{name}/Imgs/exp1_num_{number}" for number in numbers]
    for stem in stems:
        save(root / f"{stem}.jpg", np.full((20, 30), 50))
        save(root / f"{stem}.png", half_marked(0 if name == "Free" else 255, (20, 30)))
    return [f"{stem}.jpg" for stem in stems]


def test_magnetic_tiles_have_categories_and_numbers(tmp_path: Path) -> None:
    names = [
        *write_tiles(tmp_path, "Crack", range(7, 10)),
        *write_tiles(tmp_path, "Free", range(3)),
    ]
    rows = [f"{'test' if i == 2 else 'train'}\t{name}\n" for i, name in enumerate(names)]
    (tmp_path / "split.tsv").write_text("".join(rows))
    found = load_images("magnetic_tile", "train", tmp_path, shape=SHAPE)
    assert found.groups is not None and found.sequence_index is not None
    assert found.groups.tolist() == ["Crack"] * 2 + ["Free"] * 3
    assert found.sequence_index.tolist() == [7, 8, 0, 1, 2]
    assert found.labels.any(axis=(1, 2)).tolist() == [True] * 2 + [False] * 3
    sample = load_images("magnetic_tile", "train", tmp_path, shape=SHAPE, sample=3)
    assert sample.groups is not None and len(sample.groups) == 3
    assert np.array_equal(sample.groups == "Crack", sample.labels.any(axis=(1, 2)))


def test_the_real_tiles_are_parted_without_a_leak() -> None:
    try:
        everything = load_images("magnetic_tile", "train", shape=(1, 16, 16))
    except DataError as error:
        pytest.skip(f"needs magnetic_tile: {error}")
    assert len(everything) == 1074
    train, val = everything.split_off(150)
    assert len(train) + len(val) == 1074 and 100 < len(val) < 200
    for part in (train, val):
        assert part.groups is not None and set(part.groups) == set(everything.groups)  # type: ignore[arg-type]
    for group in ("Blowhole", "Break", "Crack", "Fray", "Uneven", "Free"):
        gap = (
            val.sequence_index[val.groups == group].min()
            - train.sequence_index[train.groups == group].max()
        )  # type: ignore[index]
        assert gap > 100, f"exposures of one tile differ by less; {group} by {gap}"


@settings(max_examples=60)
@given(
    tiles=st.lists(st.tuples(st.integers(1, 6), st.sampled_from("ab")), min_size=8, max_size=40),
    share=st.floats(0.1, 0.4),
)
def test_a_tile_is_never_parted(tiles: list[tuple[int, str]], share: float) -> None:
    """Exposures differ by 10, tiles by 1000 and more; each group has enough of them."""
    tiles = [*tiles, *((3, group) for group in "ab" for _ in range(20))]
    ids = np.repeat(np.arange(len(tiles)), [count for count, _ in tiles])
    exposure = np.concatenate([np.arange(count) for count, _ in tiles])
    groups = np.repeat([group for _, group in tiles], [count for count, _ in tiles])
    order = np.random.default_rng(0).permutation(len(ids))
    ids, groups = ids[order], groups[order]
    held = held_out_ranges(2000 * ids + 10 * exposure[order], groups, share)
    assert not set(ids[held]) & set(ids[~held])
    for group in "ab":
        assert 0.5 * share - 0.1 < held[groups == group].mean() < 1.5 * share + 0.1


def test_small_groups_keep_a_image_to_train_on() -> None:
    held = held_out_ranges(np.array([5, 1, 2]), np.array(["a", "b", "b"]), 0.1)
    assert held.tolist() == [False, False, True]


def test_a_draw_takes_its_share_of_every_group() -> None:
    marks = np.arange(50)[:, None, None] % 10 == 0
    groups = np.where(marks[:, 0, 0], "marked", "clean")
    whole = ImageSet("toy", "train", marks[:, None], marks.astype(np.uint8), groups=groups)
    rest, held = whole.split_off(10)
    assert (len(rest), len(held)) == (40, 10)
    assert (rest.labels.sum(), held.labels.sum()) == (4, 1)
    assert [len(part) for part in whole.subset(np.array([0, 1])).split_off(1)] == [2, 0]
    assert whole.split_off(1)[1].labels.sum() == 1, "rare as they are, one is held out"


def test_parts_keep_what_is_known_of_each_image() -> None:
    values = np.arange(12)
    whole = ImageSet(
        "toy",
        "train",
        values[:, None],
        values,
        groups=values.astype(str),
        sequence_index=values // 6,
    )
    drawn = (whole.sample(5), whole.head(4), whole.stratified(7))
    for part in (*drawn, whole.subset(np.array([3, 1]))):
        assert part.groups is not None and part.sequence_index is not None
        assert np.array_equal(part.groups.astype(int), part.labels)
        assert np.array_equal(part.sequence_index, part.labels // 6)


@settings(max_examples=40)
@given(seed=st.integers(0, 999), factor=st.integers(1, 4))
def test_a_mark_is_half_of_the_area_or_more(seed: int, factor: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 2, (3 * factor, 5 * factor), np.uint8)
    shares = mask.reshape(3, factor, 5, factor).mean(axis=(1, 3))
    assert np.array_equal(resize_marks(mask, (3, 5)), shares >= 0.5)
    assert np.array_equal(resize_marks(resize_marks(mask, (3, 5)), (3, 5)), shares >= 0.5)
    large = np.repeat(np.repeat(mask, 2, axis=0), 3, axis=1)
    size = (6 * factor, 15 * factor)
    assert np.array_equal(resize_marks(mask, size), large)
    assert np.array_equal(resize_indices(mask, size), large)


def test_indices_are_never_mixed() -> None:
    mask = np.array([[0, 0, 7, 7], [0, 0, 7, 7]], np.uint8)
    assert resize_indices(mask, (1, 3)).tolist() == [[0, 7, 7]]


def test_turns_and_flips_are_of_single_images() -> None:
    torch.manual_seed(0)
    images = torch.arange(4.0).view(1, 1, 2, 2).expand(100, 1, 2, 2)
    upside_down = random_flip(images, 0.5, dim=2)[:, 0, 0].eq(torch.tensor([2.0, 3.0])).all(1)
    turned = random_rot90(images, 0.5)[:, 0, 0].eq(torch.tensor([0.0, 2.0])).all(1)
    assert 30 < upside_down.sum() < 70 and 30 < turned.sum() < 70
    assert torch.equal(random_rot90(images, 0.0), images)
    oblong = torch.rand(3, 1, 2, 4)
    assert torch.equal(random_rot90(oblong, 1.0), oblong)


def test_gamma_keeps_black_and_white() -> None:
    torch.manual_seed(0)
    images = torch.tensor([0.0, 64, 128, 255]).view(1, 1, 2, 2).expand(50, 1, 2, 2)
    changed = random_gamma(images, 0.5).flatten(1)
    assert torch.equal(changed[:, 0], torch.zeros(50))
    torch.testing.assert_close(changed[:, 3], torch.full((50,), 255.0))
    assert changed[:, 2].min() < 110 and changed[:, 2].max() > 145
    assert (changed.diff(dim=1) > 0).all()
    torch.testing.assert_close(random_gamma(images, 0.0), images)


def test_outside_of_a_image_its_mirror_image_can_lie() -> None:
    torch.manual_seed(0)
    images = torch.full((8, 1, 16, 16), 100.0)
    assert random_affine(images, translate=0.3).min() == 0
    mirrored = random_affine(images, translate=0.3, outside="reflection")
    torch.testing.assert_close(mirrored, images)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_mask_moves_with_its_image(classes: int) -> None:
    """Each class has its colour: after any motion a pixel's colour must be its mask's."""
    config = AugmentConfig(degrees=25, translate=0.1, scale=0.2, hflip=0.5, vflip=0.5, rot90=0.5)
    torch.manual_seed(0)
    masks = torch.zeros(20, 32, 32, dtype=torch.uint8)
    for index in range(1, classes):
        masks[:, 3 + 7 * index : 9 + 7 * index, 4 : 12 + 3 * index] = index
    images = torch.stack([255 * (masks == k) for k in range(1, classes)], dim=1)
    images, moved = augment(images, masks, config)
    assert moved.dtype == torch.uint8 and images.shape == images.shape
    for index in range(1, classes):
        pure = images[:, index - 1] > 200
        assert pure.any() and (moved[pure] == index).all()
    assert (moved[images.sum(dim=1) < 50] == 0).all()
    assert len({tuple(mask.flatten().tolist()) for mask in moved}) > 15
    still, same = augment(images, masks, AugmentConfig())
    torch.testing.assert_close(still, images.float())
    assert torch.equal(same, masks)
