"""Samples of a user's own, for calibration and comparison: a folder of images, arrays, or noise."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.files import MOST_IMAGE_BYTES, read_file
from ...errors import DataError
from ...training.data import ImageSet
from ...training.data.pixels import decode
from ...zoo.spec import ModelSpec
from ..graph.files import sample_type
from ..tasks import get_task

NOISE = "noise"
MOST = 256  # samples to compare on, unless the user says otherwise
NOISE_COUNT = 16
_IMAGES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
ARRAYS = {".npy", ".npz"}


def noise_samples(spec: ModelSpec, count: int = NOISE_COUNT, *, seed: int = 0) -> np.ndarray:
    """Seeded noise: images of every frequency, or records of normally distributed numbers."""
    rng = np.random.default_rng(seed)
    if spec.inputs:
        records = np.zeros(count, sample_type(spec))
        for each in spec.inputs:
            records[each.name] = rng.standard_normal((count, *each.shape[1:]), np.float32)
        return records
    _, channels, height, width = spec.input_shape
    images = np.zeros((count, channels, height, width), np.float32)
    for index in range(count):
        for patch in (1, 4, 16):  # pixels alone would drown in any mean
            rows, columns = -(-height // patch), -(-width // patch)
            drawn = rng.uniform(-60, 60, (channels, rows, columns))
            images[index] += drawn.repeat(patch, 1).repeat(patch, 2)[:, :height, :width]
    return np.clip(images + 128, 0, 255).astype(np.uint8)


def split_files(folder: Path, spec: ModelSpec) -> tuple[list[Path], list[Path]]:
    """The files to calibrate on and those to compare on, once and for all.

    Half of each subfolder goes either way, by a draw that depends on the names alone; a single
    file serves both.

    Raises:
        DataError: no such folder, or nothing in it that is an image (an array, for tensors).
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder}: there is no such folder")
    kinds = ARRAYS if spec.inputs else _IMAGES | ARRAYS
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix.lower() in kinds and not path.name.startswith(".")
    )
    if not files:
        what = "arrays (.npy, .npz)" if spec.inputs else "images"
        raise DataError(f"--images {folder}: there are no {what} in it")
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        groups[path.parent].append(path)
    rng = np.random.default_rng(0)
    calibration: list[Path] = []
    test: list[Path] = []
    for members in groups.values():
        order = [members[i] for i in rng.permutation(len(members))]
        middle = len(order) // 2
        calibration += order[:middle]
        test += order[middle:]
    return _interleaved(calibration or test), _interleaved(test)


def _interleaved(files: Sequence[Path]) -> list[Path]:
    """One of each subfolder in turn, so that a head of the list is a stratified draw."""
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        groups[path.parent].append(path)
    ranked = [(i, path) for members in groups.values() for i, path in enumerate(members)]
    return [path for _, path in sorted(ranked, key=lambda pair: pair[0])]


def read_samples(files: Sequence[Path], spec: ModelSpec, count: int | None) -> np.ndarray:
    """The first ``count`` samples of the files, as the network takes them before normalisation.

    Raises:
        DataError: a file cannot be read, or its array does not fit.
    """
    parts: list[np.ndarray] = []
    total = 0
    for path in files:
        part = _read_array(path, spec) if path.suffix.lower() in ARRAYS else _image(path, spec)
        parts.append(part)
        total += len(part)
        if count is not None and total >= count:
            break
    return np.concatenate(parts)[:count]


def as_image_set(name: str, split: str, samples: np.ndarray) -> ImageSet:
    """Samples without labels."""
    return ImageSet(name, split, samples, np.zeros(len(samples), np.int64))


def _image(path: Path, spec: ModelSpec) -> np.ndarray:
    try:
        pixels = decode(read_file(path, MOST_IMAGE_BYTES))
        return get_task(spec.task).preprocess(spec, pixels).x
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"cannot read the image {path}: {error}") from None


def _read_array(path: Path, spec: ModelSpec) -> np.ndarray:
    """One sample or several: ``[N, ...]`` or without the batch; of an .npz one array an input."""
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {name: loaded[name] for name in loaded.files} if path.suffix == ".npz" else None
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the array {path}: {error}") from None
    if spec.inputs:
        return _records(path, spec, loaded if arrays is None else arrays)
    array = loaded if arrays is None else next(iter(arrays.values()))
    shape = spec.input_shape[1:]
    batch = array[None] if array.ndim == 3 else array
    if batch.dtype != np.uint8 or batch.shape[1:] != shape:
        wanted = "x".join(map(str, shape))
        raise DataError(
            f"{path}: an image array is uint8 {wanted} (or N of them), got "
            f"{array.dtype} {'x'.join(map(str, array.shape))}"
        )
    return batch


def _records(path: Path, spec: ModelSpec, arrays: np.ndarray | dict[str, np.ndarray]) -> np.ndarray:
    if isinstance(arrays, np.ndarray):
        arrays = {spec.inputs[0].name: arrays}
    parts: dict[str, np.ndarray] = {}
    for each in spec.inputs:
        if each.name not in arrays:
            raise DataError(f"{path} has no array {each.name!r}; it has {', '.join(arrays)}")
        array = np.asarray(arrays[each.name], np.float32)
        batch = array[None] if array.shape == each.shape[1:] else array
        if batch.shape[1:] != each.shape[1:]:
            wanted = "x".join(map(str, each.shape[1:]))
            raise DataError(f"{path}: {each.name} is {array.shape}, the network takes {wanted}")
        if not np.isfinite(batch).all():
            raise DataError(f"{path}: {each.name} has numbers that are not finite")
        parts[each.name] = batch
    counts = {len(part) for part in parts.values()}
    if len(counts) > 1:
        raise DataError(f"{path}: its arrays have different numbers of samples")
    records = np.zeros(counts.pop(), sample_type(spec))
    for name, part in parts.items():
        records[name] = part
    return records
