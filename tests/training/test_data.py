"""Data sets: the idx format, where folders are looked for, splits."""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import DataError
from edgeark.training.data import ImageSet, find_dataset, load_images, public
from edgeark.training.data.augment import (
    color_jitter,
    random_affine,
    random_crop,
    random_erase,
    random_flip,
)
from edgeark.training.data.idx import read_idx
from edgeark.training.data.images import as_labels
from edgeark.training.data.sources import candidate_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


@settings(max_examples=30)
@given(values=arrays(np.uint8, array_shapes(min_dims=1, max_dims=3)), zipped=st.booleans())
def test_what_was_written_is_read(
    values: np.ndarray, zipped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    content = idx_bytes(values)
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert np.array_equal(read_idx(path), values)


GOOD = idx_bytes(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a", "not an idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01", "a", "not an idx file"),
        (GOOD[:6], "a", "truncated inside its header"),
        (GOOD[:-1], "a", "holds 5 values, its header says 6"),
        (GOOD + b"\0", "a", "holds 7 values"),
        (GOOD, "a.gz", "cannot read"),
        (gzip.compress(GOOD, mtime=0)[:-9], "a.gz", "cannot read"),
    ],
)
def test_a_broken_idx_file_is_named(
    content: bytes, name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / name)


def make_mnist(folder: Path, images: int = 4, labels: int = 4) -> Path:
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        pixels = np.arange(images * 784, dtype=np.uint32).astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
            idx_bytes(pixels.reshape(images, 28, 28))
        )
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(
            idx_bytes(np.arange(labels, dtype=np.uint8))
        )
    return folder


def test_mnist_is_found_by_its_folder_or_its_parent(tmp_path: Path) -> None:
    folder = make_mnist(tmp_path / "mnist")
    for data in (folder, tmp_path):
        found = load_images("mnist", "test", data)
        assert found.images.shape == (4, 1, 28, 28)
        assert found.labels.tolist() == [0, 1, 2, 3]


def test_the_variable_comes_before_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEARK_DATA", str(tmp_path))
    make_mnist(tmp_path / "mnist")
    assert find_dataset("mnist", "t10k*") == (tmp_path / "mnist").resolve()
    assert candidate_folders("mnist", Path("x")) == [Path("x"), Path("x/mnist")]


def test_a_named_folder_without_the_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no mnist data set in"):
        load_images("mnist", "test", tmp_path)


def test_images_without_labels_are_an_error(tmp_path: Path) -> None:
    folder = make_mnist(tmp_path / "mnist", images=4, labels=3)
    with pytest.raises(DataError, match="do not match"):
        load_images("mnist", "train", folder)


def test_unknown_data_set() -> None:
    with pytest.raises(
        DataError, match="unknown data set 'imagenet'; there are bccd, cifar10, digits"
    ):
        load_images("imagenet", "test")


def test_without_data_and_network_the_error_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.MNIST", refuse)
    monkeypatch.setattr(public, "find_dataset", lambda *args: None)
    monkeypatch.setattr(public, "download_folder", lambda name: tmp_path)
    with pytest.raises(DataError, match=r"is in none of .*--data"):
        load_images("mnist", "test")


def test_bundled_digits_are_real_and_framed() -> None:
    train, test = load_images("digits", "train"), load_images("digits", "test")
    assert (len(train), len(test)) == (797, 1000)
    assert train.images.shape[1:] == (1, 28, 28)
    assert train.images[:, :, :4].max() == 0
    assert train.images.max() == 255
    assert set(test.labels) == set(range(10))


def small_set(count: int = 20) -> ImageSet:
    images = np.arange(count, dtype=np.uint8)[:, None, None, None]
    return ImageSet("toy", "train", images, np.arange(count))


def test_splits_are_disjoint_complete_and_always_the_same() -> None:
    rest, held = small_set().split_off(5)
    assert len(held) == 5
    assert sorted([*rest.labels, *held.labels]) == list(range(20))
    assert np.array_equal(small_set().split_off(5)[1].labels, held.labels)


@pytest.mark.parametrize("count", [0, 20, 21])
def test_a_split_that_leaves_nothing_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"20 images to train on, too few to hold out {count}"):
        small_set().split_off(count)


def test_samples_do_not_repeat() -> None:
    sample = small_set().sample(10)
    assert len(set(sample.labels)) == 10
    assert np.array_equal(sample.images.ravel(), sample.labels)


def test_no_distortion_is_the_identity() -> None:
    images = torch.rand(3, 1, 9, 7)
    torch.testing.assert_close(random_affine(images), images)


def test_distortion_differs_from_image_to_image_and_stays_in_range() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 255
    moved = random_affine(images, degrees=15, translate=0.1, scale=0.1, shear=10)
    assert not torch.allclose(moved[0], moved[1])
    assert moved.min() >= 0 and moved.max() <= 255.01
    assert (moved.sum((1, 2, 3)) > 0.6 * images[0].sum()).all()


def image(folder: Path, name: str, value: int, size: tuple[int, int] = (12, 10)) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, value, value)).save(path)


def test_a_folder_of_ones_own_is_a_data_set(tmp_path: Path) -> None:
    for number in range(10):
        image(tmp_path, f"cat/{number}.png", 10)
        image(tmp_path, f"dog/{number}.jpg", 200)
    parts = [load_images("image_folder", s, tmp_path, shape=(3, 8, 8)) for s in ("train", "test")]
    assert [len(part) for part in parts] == [16, 4]
    for part in parts:
        assert part.classes == ("cat", "dog")
        assert np.array_equal(part.images.mean(axis=(1, 2, 3)) > 100, part.labels == 1)


def test_folders_named_train_and_test_are_the_split(tmp_path: Path) -> None:
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/1.png", "test/b/2.png"):
        image(tmp_path, name, 99)
    found = load_images("image_folder", "test", tmp_path)
    assert found.labels.tolist() == [0, 1, 1]
    (tmp_path / "test/a/1.png").unlink()
    assert load_images("image_folder", "test", tmp_path).labels.tolist() == [1, 1]
    image(tmp_path, "test/c/1.png", 1)
    with pytest.raises(DataError, match="the class 'c' is in test and not in train"):
        load_images("image_folder", "test", tmp_path)
    assert found.images.shape == (3, 3, 10, 12), "without a network, the first image's size"


def test_a_zip_of_ones_own_is_read_as_its_folder_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(10):
        image(tmp_path / "photos", f"cat/{number}.png", 10)
        image(tmp_path / "photos", f"dog/{number}.png", 200)
    for name, top in (("photos.zip", tmp_path / "photos"), ("whole.zip", tmp_path)):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("__MACOSX/photos/cat/._0.png", b"no image")
            for path in sorted((tmp_path / "photos").rglob("*.png")):
                archive.write(path, path.relative_to(top))
        for split in ("train", "test"):
            wanted, found = (
                load_images("image_folder", split, data, shape=(3, 8, 8))
                for data in (tmp_path / "photos", tmp_path / name)
            )
            assert np.array_equal(wanted.images, found.images)
            assert (found.labels.tolist(), found.classes) == (
                wanted.labels.tolist(),
                ("cat", "dog"),
            )
    content = bytearray((tmp_path / "photos.zip").read_bytes())
    content[content.index(b"\x89PNG") + 20] ^= 255  # of cat/0.png, as the zip's checksum says
    (tmp_path / "photos.zip").write_bytes(content)
    load_images("image_folder", "train", tmp_path / "photos.zip", shape=(3, 8, 8))
    load_images("image_folder", "test", tmp_path / "photos.zip", shape=(3, 8, 8))
    assert "1 of " in caplog.text and "images cannot be read and are left out: cat/0.png" in (
        caplog.text
    )
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"cannot read .*photos\.zip"):
        load_images("image_folder", "train", tmp_path / "photos.zip")


def test_a_zip_has_parts_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png"):
            image(tmp_path, name, 99)
            archive.write(tmp_path / name, f"photos/{name}")
    assert load_images("image_folder", "test", tmp_path / "p.zip").labels.tolist() == [1]


def test_a_split_file_of_ones_own_is_followed(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "deep/b/1.png", "deep/b/2.png"):
        image(tmp_path, name, 99)
    lines = ["train\ta/1.png", "train\tdeep/b/1.png", "test\tdeep/b/2.png"]
    (tmp_path / "split.tsv").write_text("\n".join(lines))
    train, test = (load_images("image_folder", part, tmp_path) for part in ("train", "test"))
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [1])
    assert test.classes == ("a", "b")
    (tmp_path / "split.tsv").write_text("a/1.png")
    with pytest.raises(DataError, match="line 1: expected train or test, a tab and a path"):
        load_images("image_folder", "train", tmp_path)


def test_broken_images_are_left_out_named_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "test/a/1.png"):
        image(tmp_path, name, 99)
    whole = (tmp_path / "train/a/2.png").read_bytes()
    (tmp_path / "train/a/2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "train/b/2.jpg").write_bytes(b"no image")
    found = load_images("image_folder", "train", tmp_path, shape=(1, 8, 8))
    assert found.labels.tolist() == [0, 1]
    assert "2 of 4 train images cannot be read and are left out: train/a/2.png" in caplog.text


def test_no_readable_image_is_an_error(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="none of 1 images can be read"):
        load_images("image_folder", "train", tmp_path, shape=(3, 8, 8))


@pytest.mark.parametrize("data", [None, Path("nowhere")])
def test_a_folder_of_ones_own_must_be_named(data: Path | None) -> None:
    with pytest.raises(DataError, match="name the folder of your images with --data"):
        load_images("image_folder", "train", data)


def test_one_class_is_no_data_set(tmp_path: Path) -> None:
    image(tmp_path, "only/1.png", 5)
    with pytest.raises(DataError, match=r"1 class \(\w+\); two or more are needed"):
        load_images("image_folder", "train", tmp_path)


def test_a_zip_of_class_folders_is_cifar10(tmp_path: Path) -> None:
    for label, name in enumerate(("airplane", "bird")):
        image(tmp_path, f"train/{name}/0000.jpg", 100 * label, (32, 32))
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for path in sorted((tmp_path / "train").rglob("*.jpg")):
            archive.write(path, path.relative_to(tmp_path))
    found = load_images("cifar10", "train", tmp_path)
    assert (found.classes, found.images.shape) == (("airplane", "bird"), (2, 3, 32, 32))
    (tmp_path / "train.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"cannot read .*train\.zip"):
        load_images("cifar10", "train", tmp_path)


def test_a_split_file_is_followed(tmp_path: Path) -> None:
    for name in ("Dataset/0/a.JPG", "Dataset/1/b.JPG", "Dataset/1/c.JPG"):
        image(tmp_path, name, 50)
    table = tmp_path / "split.tsv"
    table.write_text("train\tDataset/0/a.JPG\ntrain\tDataset/1/b.JPG\ntest\tDataset/1/c.JPG\n")
    assert load_images("sign_digits", "train", tmp_path, shape=(3, 4, 4)).labels.tolist() == [0, 1]
    table.write_text("train\tDataset/0/a.JPG\nvalid\tDataset/1/b.JPG\n")
    with pytest.raises(DataError, match="line 2: expected train or test, a tab and a path"):
        load_images("sign_digits", "train", tmp_path)


def test_images_come_in_the_networks_shape() -> None:
    small = load_images("digits", "test", shape=(3, 20, 24), sample=7)
    assert small.images.shape == (7, 3, 20, 24)


def test_crops_move_and_mirror_the_edge() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(12.0).expand(50, 1, 12, 12)
    moved = random_crop(ramp, 2)
    starts = moved[:, 0, 0, 2]
    assert moved.shape == ramp.shape and set(starts.tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert torch.equal(random_crop(ramp, 0), ramp)
    assert set(moved.unique().tolist()) <= set(range(12))


def test_flips_are_of_single_images() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(4.0).expand(100, 1, 2, 4)
    mirrored = random_flip(ramp, 0.5)[:, 0, 0, 0] == 3
    assert 30 < mirrored.sum() < 70
    assert torch.equal(random_flip(ramp, 0.0), ramp)


def test_an_erased_square_has_its_size() -> None:
    torch.manual_seed(0)
    images = torch.full((40, 3, 20, 20), 9.0)
    images[:, :, ::2] = 1.0
    changed = (random_erase(images, 0.5) != images).any(dim=1).sum(dim=(1, 2))
    assert changed.max() == 100 and changed.min() >= 25, "10x10 inside, a quarter in a corner"


def test_light_keeps_images_in_range_and_differs() -> None:
    torch.manual_seed(0)
    images = torch.rand(4, 3, 6, 6) * 255
    lit = color_jitter(images, 0.4)
    assert lit.min() >= 0 and lit.max() <= 255
    assert not torch.allclose(lit[0] / images[0], lit[1] / images[1])
    torch.testing.assert_close(color_jitter(images, 0.0), images)


@pytest.mark.parametrize("count", [3, 7, 12, 30, None])
def test_a_limit_takes_an_equal_share_of_each_class(count: int | None) -> None:
    labels = np.repeat([2, 0, 1], [20, 8, 2])  # sorted by class, as folders are
    whole = ImageSet("toy", "test", np.arange(30)[:, None], labels)
    drawn = whole.stratified(count)
    shares = np.bincount(drawn.labels, minlength=3)
    assert shares.sum() == (count or 30)
    unused = [share for share, total in zip(shares, (8, 2, 20), strict=True) if share < total]
    assert max(unused, default=0) - min(unused, default=0) <= 1
    assert len(np.unique(drawn.images)) == len(drawn), "an image twice"
    assert np.array_equal(labels[drawn.images[:, 0]], drawn.labels)
    assert np.array_equal(drawn.images, whole.stratified().head(count).images), "heads nest"


def test_a_draw_of_boxes_has_the_rarest_class_of_each_image() -> None:
    boxes = [[0, 0, 1, 1, 0.0]]
    rows = [boxes * 3] * 20 + [[*boxes, [0, 0, 1, 1, 4]]] + [[]] * 5
    labels = as_labels(np.array(row, np.float32).reshape(-1, 5) for row in rows)
    whole = ImageSet("toy", "test", np.arange(26)[:, None], labels)
    assert whole.strata().tolist() == [0] * 20 + [4] + [-1] * 5
    assert set(whole.stratified(3).strata()) == {0, 4, -1}


def test_a_draw_of_masks_has_marked_and_clean_images() -> None:
    groups = np.array(["clean"] * 18 + ["marked"] * 2)
    masks = np.zeros((20, 4, 4), np.uint8)
    whole = ImageSet("toy", "test", np.arange(20)[:, None], masks, groups=groups)
    assert whole.stratified(4).groups.tolist().count("marked") == 2
    alone = ImageSet("toy", "test", np.arange(20)[:, None], masks)
    assert len(set(alone.stratified(4).images[:, 0])) == 4
