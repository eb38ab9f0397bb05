"""A look at a data set before anything is trained: what is in it, and what is wrong with it.

Each image is read once. Formats find what shows in names and lists; here is what shows in the
images and annotations themselves, the same for every format.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from ...errors import DataError
from ...zoo.tasks.segmentation import IGNORE
from .catalog import Catalog
from .duplicates import SIDE, find_duplicates
from .findings import Finding
from .images import Split
from .pixels import MAX_PIXELS, depth_of, open_image, to_pixels
from .reading import clip_boxes, read_each

MIN_TRAIN, MIN_TEST = 8, 20  # images; fewer cannot be trained on, or say nothing
_SMALL_BOX = 3.0  # pixels
_MANY = 0.5
_IMBALANCE = 20
_MOST = 0.9  # of all pixels


@dataclass(frozen=True)
class Sight:
    """What one image and its annotation show."""

    name: str
    split: Split
    size: tuple[int, int]
    mode: str
    depth: int
    orientation: int
    frames: int
    digest: str
    thumbnail: np.ndarray  # uint8 [SIDE, SIDE], gray
    counts: dict[int, int]  # by class: 1 for the image's own, boxes, or pixels
    sides: np.ndarray  # [k, 2], of the boxes in pixels
    lost: int = 0  # boxes without area in the image


@dataclass(frozen=True)
class Look:
    """The outcome: figures, and findings, errors first."""

    name: str
    dataset: str
    task: str
    classes: tuple[str, ...]
    sights: tuple[Sight, ...]
    broken: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    is_drawn: bool = False
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dataset": self.dataset,
            "task": self.task,
            "classes": list(self.classes),
            "split": "drawn" if self.is_drawn else "given",
            **self.figures,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def look_at(catalog: Catalog, dataset: str) -> Look:
    """Read every image of a catalog and its annotation.

    Args:
        catalog: what a format listed.
        dataset: the format's name.
    """
    split_of: dict[str, Split] = {}
    for split in ("train", "val", "test"):
        for name in catalog.parts.get(split, ()):
            split_of.setdefault(name, split)
    found, failed = read_each(list(split_of), lambda name: see(catalog, name, split_of[name]))
    sights = tuple(sight for _, sight in found)
    broken = tuple((str(name), why) for name, why in failed)
    findings = [*catalog.findings, *_unreadable(broken, len(split_of))]
    if sights:
        findings += _too_few(sights)
        findings += _odd_files(catalog, sights)
        findings += _labels(catalog, sights)
        findings += find_duplicates(sights, catalog)
    order = ("error", "warning", "info")
    return Look(
        catalog.name,
        dataset,
        catalog.task,
        catalog.classes,
        sights,
        broken,
        tuple(sorted(findings, key=lambda finding: order.index(finding.severity))),
        catalog.is_drawn,
        _figures(catalog, sights, broken),
    )


def see(catalog: Catalog, name: str, split: Split) -> Sight:
    """One image.

    Raises:
        DataError: it, or its annotation, cannot be read.
    """
    content = catalog.read(name)
    with open_image(content) as (file, header):
        depth = 8
        if file.mode.startswith("I"):
            depth = depth_of(np.asarray(file))
            gray = Image.fromarray(to_pixels(file, header))
        else:
            file.draft("L", (8 * SIDE, 8 * SIDE))  # JPEG decodes small at once
            gray = header.turn(file).convert("L")
        thumbnail = np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX))
        label = catalog.annotate(name, header)
    counts: dict[int, int] = {}
    sides, lost = np.zeros((0, 2)), 0
    if catalog.task == "classification":
        counts = {int(label): 1}
    elif catalog.task == "detection":
        kept = clip_boxes(label, header.size)
        lost, sides = len(label) - len(kept), kept[:, 2:4] - kept[:, :2]
        counts = dict(Counter(kept[:, 4].astype(int).tolist()))
    else:
        if label.shape != header.size:
            raise DataError(f"the image is {header.size}, its mask {label.shape}")
        values, numbers = np.unique(label, return_counts=True)
        counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    return Sight(
        name,
        split,
        header.size,
        header.mode,
        depth,
        header.orientation,
        header.frames,
        hashlib.sha256(content).hexdigest(),
        thumbnail,
        counts,
        sides,
        lost,
    )


def _unreadable(broken: Sequence[tuple[str, str]], total: int) -> list[Finding]:
    """A finding a reason; reasons that differ in numbers alone are one."""
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, why in broken:
        reasons[re.sub(r"\d+|'[^']*'", "", why.replace(name, ""))].append((name, why))
    severity = "error" if len(broken) > _MANY * total else "warning"
    findings = []
    for found in sorted(reasons.values(), key=len, reverse=True)[:5]:
        text = f"{len(found)} of {total} images cannot be used ({found[0][1]})"
        findings.append(Finding.of(severity, "unreadable", text, [name for name, _ in found]))
    return findings


def _too_few(sights: Sequence[Sight]) -> list[Finding]:
    train = [sight for sight in sights if sight.split == "train"]
    tested = {sight.split for sight in sights} - {"train"}
    last = "test" if "test" in tested else "val"
    test = [sight for sight in sights if sight.split == last]
    findings = []
    if len(train) < MIN_TRAIN:
        text = f"{len(train)} images to train on: {MIN_TRAIN} or more are needed"
        findings.append(Finding("error", "too-few", text))
    if not test:
        findings.append(Finding("error", "no-test", "no image is left to test on"))
    elif len(test) < MIN_TEST:
        step = 100 / len(test)
        text = (
            f"{len(test)} test images: each counts {step:.0f} %, so small differences mean nothing"
        )
        findings.append(Finding("warning", "small-test", text))
    return findings


def _odd_files(catalog: Catalog, sights: Sequence[Sight]) -> list[Finding]:
    findings = []
    by_depth: dict[int, list[Sight]] = defaultdict(list)
    for sight in sights:
        by_depth[sight.depth].append(sight)
    if len(by_depth) > 1:
        depths = ", ".join(f"{len(s)} of {d} bits" for d, s in sorted(by_depth.items()))
        told = ""
        if catalog.task == "classification":
            owners = [{c for s in found for c in s.counts} for found in by_depth.values()]
            if not set.intersection(*owners):
                told = "; no class has both, so the depth alone tells the class"
        rare = min(by_depth.values(), key=len)
        text = f"images of several bit depths, each scaled to 8: {depths}{told}"
        findings.append(Finding.of("warning", "mixed-depth", text, [s.name for s in rare]))
    clear = [s.name for s in sights if s.mode in ("RGBA", "LA", "PA", "RGBa", "La")]
    if clear:
        text = f"{len(clear)} images are partly transparent; what lies underneath is used"
        findings.append(Finding.of("info", "transparent", text, clear))
    many = [s.name for s in sights if s.frames > 1]
    if many:
        text = f"{len(many)} files hold several images; the first is used"
        findings.append(Finding.of("info", "frames", text, many))
    turned = [s for s in sights if s.orientation != 1]
    ambiguous = [s.name for s in turned if s.orientation in (2, 3, 4)]
    if ambiguous and catalog.task != "classification":
        what = "masks" if catalog.task == "segmentation" else "boxes"
        text = (
            f"EXIF turns or mirrors {len(ambiguous)} images, and nothing says whether their {what} "
            "were drawn before or after: they are taken as drawn on the upright image"
        )
        findings.append(Finding.of("warning", "exif", text, ambiguous))
    elif turned:
        text = f"{len(turned)} images are turned upright, as EXIF says"
        findings.append(Finding.of("info", "exif", text, [s.name for s in turned]))
    return findings


def _labels(catalog: Catalog, sights: Sequence[Sight]) -> list[Finding]:
    if catalog.task == "segmentation":
        return _mask_findings(catalog, sights)
    findings = _class_findings(catalog, sights)
    if catalog.task == "detection":
        findings += _box_findings(catalog, sights)
    return findings


def _class_findings(catalog: Catalog, sights: Sequence[Sight]) -> list[Finding]:
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for sight in sights:
        counts["train" if sight.split == "train" else "test"].update(sight.counts)
    what = "image" if catalog.task == "classification" else "box"
    findings = []
    for part in ("train", "test"):
        lacking = [c for i, c in enumerate(catalog.classes) if not counts[part][i]]
        if lacking and any(counts[part].values()):
            text = f"classes without a {part} {what}"
            findings.append(Finding.of("warning", f"class-without-{part}", text, lacking))
    present = {i: n for i, n in counts["train"].items() if n}
    if len(present) > 1:
        most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
        if present[most] > _IMBALANCE * present[least]:
            text = (
                f"{catalog.classes[most]} has {present[most]} training "
                f"{'images' if what == 'image' else 'boxes'}, {catalog.classes[least]} "
                f"{present[least]}: the rare class will hardly be learnt"
            )
            findings.append(Finding("warning", "imbalance", text))
    return findings


def _box_findings(catalog: Catalog, sights: Sequence[Sight]) -> list[Finding]:
    total = sum(sum(sight.counts.values()) for sight in sights)
    if not total:
        return [Finding("error", "no-boxes", "no image has a box")]
    findings = []
    lost = [sight.name for sight in sights for _ in range(sight.lost)]
    if lost:
        severity = "error" if len(lost) > total else "warning"
        text = f"{len(lost)} of {total + len(lost)} boxes have no area inside their image"
        findings.append(Finding.of(severity, "no-area", text, lost))
    sides = np.concatenate([sight.sides for sight in sights])
    small = (sides.min(axis=1) < _SMALL_BOX).mean()
    if small > _MANY:
        text = f"{100 * small:.0f} % of the boxes are under {_SMALL_BOX:g} pixels wide or high"
        findings.append(Finding("warning", "tiny-boxes", text))
    empty = [sight.name for sight in sights if not sight.counts]
    if empty and len(empty) > _MANY * len(sights):
        text = f"{len(empty)} of {len(sights)} images have no box"
        findings.append(Finding.of("warning", "mostly-empty", text, empty))
    return findings


def _mask_findings(catalog: Catalog, sights: Sequence[Sight]) -> list[Finding]:
    findings = []
    for part in ("train", "test"):
        chosen = [s for s in sights if (s.split == "train") == (part == "train")]
        if chosen and not any(set(s.counts) - {0, IGNORE} for s in chosen):
            text = f"nothing is marked in the {len(chosen)} {part} masks"
            findings.append(Finding("error", "nothing-marked", text))
    pixels: Counter[int] = Counter()
    for sight in sights:
        pixels.update(sight.counts)
    counted = sum(n for value, n in pixels.items() if value != IGNORE)
    foreground = counted - pixels[0]
    if counted and foreground > _MOST * counted:
        text = (
            f"the masks mark {100 * foreground / counted:.0f} % of all pixels: are they inverted?"
        )
        findings.append(Finding("warning", "inverted", text))
    unused = [c for i, c in enumerate(catalog.classes) if i and not pixels[i]]
    if unused:
        findings.append(Finding.of("warning", "class-unused", "classes in no mask", unused))
    return findings


def _figures(
    catalog: Catalog, sights: Sequence[Sight], broken: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    parts = Counter(sight.split for sight in sights)
    per_class: dict[str, dict[str, int]] = {}
    for index, label in enumerate(catalog.classes):
        value = index + 1 if catalog.task == "segmentation" and len(catalog.classes) == 1 else index
        per_class[label] = {
            split: sum(s.counts.get(value, 0) for s in sights if s.split == split)
            for split in ("train", "val", "test")
            if parts[split]
        }
    sizes = np.array([sight.size for sight in sights]).reshape(-1, 2)
    figures: dict[str, Any] = {
        "images": {**{k: parts[k] for k in ("train", "val", "test") if parts[k]}},
        "unreadable": len(broken),
        "per_class": per_class,
        "modes": dict(Counter(sight.mode for sight in sights)),
        "bit_depths": {str(k): v for k, v in Counter(s.depth for s in sights).items()},
        "max_pixels": MAX_PIXELS,
    }
    if len(sizes):
        figures["size"] = {
            "smallest": sizes[sizes.prod(axis=1).argmin()].tolist(),
            "median": np.median(sizes, axis=0).astype(int).tolist(),
            "largest": sizes[sizes.prod(axis=1).argmax()].tolist(),
        }
    if catalog.task == "detection" and sights:
        sides = np.concatenate([sight.sides for sight in sights])
        numbers = [sum(sight.counts.values()) for sight in sights]
        figures["boxes"] = {
            "total": int(sum(numbers)),
            "per_image": {"mean": float(np.mean(numbers)), "most": int(max(numbers))},
            "width": _spread(sides[:, 0]),
            "height": _spread(sides[:, 1]),
        }
    if catalog.task == "segmentation" and sights:
        shares = [
            sum(n for v, n in s.counts.items() if v not in (0, IGNORE)) / (s.size[0] * s.size[1])
            for s in sights
        ]
        ignored = sum(s.counts.get(IGNORE, 0) for s in sights)
        figures["masks"] = {
            "marked": int(np.count_nonzero(shares)),
            "foreground": _spread(np.array(shares)),
            "ignored_pixels": int(ignored),
        }
    return figures


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, (5, 50, 95)).tolist()
    return {"p5": low, "median": middle, "p95": high}
