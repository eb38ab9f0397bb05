"""Data sets: the idx format, where folders are looked for, splits."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import DataError
from edgeark.training.data import ImageSet, find_dataset, load_images
from edgeark.training.data import images as images_module
from edgeark.training.data.augment import random_affine
from edgeark.training.data.idx import read_idx
from edgeark.training.data.sources import candidate_folders
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


@settings(max_examples=30, deadline=None)
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
        (gzip.compress(GOOD)[:-9], "a.gz", "cannot read"),
    ],
)
def test_a_broken_idx_file_is_named(
    content: bytes, name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / name)


def make_mnist(folder: Path, pictures: int = 4, labels: int = 4) -> Path:
    folder.mkdir(parents=True)
    for prefix in ("train", "t10k"):
        images = np.arange(pictures * 784, dtype=np.uint32).astype(np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(
            idx_bytes(images.reshape(pictures, 28, 28))
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


def test_the_variable_comes_before_the_neighbour_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEARK_DATA", str(tmp_path))
    make_mnist(tmp_path / "mnist")
    assert find_dataset("mnist", "t10k*") == (tmp_path / "mnist").resolve()
    assert candidate_folders("mnist", Path("x")) == [Path("x"), Path("x/mnist")]


def test_a_named_folder_without_the_data_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no mnist data set in"):
        load_images("mnist", "test", tmp_path)


def test_pictures_without_labels_are_an_error(tmp_path: Path) -> None:
    folder = make_mnist(tmp_path / "mnist", pictures=4, labels=3)
    with pytest.raises(DataError, match="do not match"):
        load_images("mnist", "train", folder)


def test_unknown_data_set() -> None:
    with pytest.raises(DataError, match="unknown data set 'imagenet'; known: mnist, digits"):
        load_images("imagenet", "test")


def test_without_data_and_network_the_error_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise RuntimeError("Error downloading")

    monkeypatch.setattr("torchvision.datasets.MNIST", refuse)
    monkeypatch.setattr(images_module, "find_dataset", lambda *args: None)
    monkeypatch.setattr(images_module, "download_folder", lambda name: tmp_path)
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
    with pytest.raises(DataError, match=f"cannot hold out {count} of the 20 pictures"):
        small_set().split_off(count)


def test_samples_do_not_repeat() -> None:
    sample = small_set().sample(10, seed=3)
    assert len(set(sample.labels)) == 10
    assert np.array_equal(sample.images.ravel(), sample.labels)


def test_no_distortion_is_the_identity() -> None:
    images = torch.rand(3, 1, 9, 7)
    torch.testing.assert_close(random_affine(images), images)


def test_distortion_differs_from_picture_to_picture_and_stays_in_range() -> None:
    torch.manual_seed(0)
    images = torch.zeros(4, 1, 28, 28)
    images[:, :, 10:18, 10:18] = 255
    moved = random_affine(images, degrees=15, translate=0.1, scale=0.1, shear=10)
    assert not torch.allclose(moved[0], moved[1])
    assert moved.min() >= 0 and moved.max() <= 255.01
    assert (moved.sum((1, 2, 3)) > 0.6 * images[0].sum()).all()
