"""A bundle for MaixPy v1 on the K210: the kmodel, a ``main.py`` for the board, a README.

What the firmware does is read from its published source (``Maix_kpu.c`` of sipeed/MaixPy-v1):
``KPU.forward`` computes the whole network for one output, and takes the type of the numbers from
the kmodel's *last* layer. So a network whose outputs are several, or whose last layer tells nothing
of floats, gets one more layer that copies all outputs into one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ....errors import EdgearkError
from ....zoo.tasks.segmentation import class_colors
from ...bundle.verifiable import make_verifiable
from ...kpu import Kmodel, KmodelError, Output, Simulator, read_kmodel, write_kmodel
from ...kpu import elementwise as e
from ...kpu import maps as m
from ...kpu.budget import budget, budget_markdown
from ...kpu.layer import MAIN_BYTES, round_up
from ...results.folder import MANIFEST, staged_folder
from ...results.manifest import Manifest, read_manifest
from ...targets.templates import open_templates
from ...tasks import get_task
from ...verify import Reopened

BUDGET = "budget.md"
CAMERA_SIZE = (240, 320)  # QVGA
_TEMPLATES = Path(__file__).parent / "maixpy_templates"
_PLACES = 56  # of a mask, along a side: MicroPython reads numbers one by one
_WINDOW_STEP = 8  # pixels; MaixPy-v1 issue 114
# Kinds of layer that MaixPy knows as writers of floats; later kinds it may not know at all.
_FLOAT_LAYERS = (
    *(e.Add, e.Dequantize, e.L2Normalize, e.Softmax),
    *(m.GlobalAveragePool, m.AveragePool, m.Concat, m.FullyConnected, m.Flatten),
)


class BundleError(EdgearkError):
    """An export of which no bundle can be made."""


@dataclass(frozen=True)
class MaixpyBundle:
    """A written bundle; sizes in bytes."""

    folder: Path
    files: tuple[str, ...]
    kmodel_bytes: int
    main_bytes: int


def write_maixpy_bundle(export: Path, out: Path) -> MaixpyBundle:
    """Make a bundle of an exported kmodel v3.

    Args:
        export: the folder of an export, or the ``.kmodel`` in it: its manifest is needed.
        out: the bundle's folder; it must not exist, or be empty.

    Raises:
        ManifestError: the manifest is not one.
        BundleError: no manifest, a task that has no decoder here, an input that the camera does
            not give, or a kmodel that is not the one of the manifest.
        KmodelError: the kmodel is no v3, or broken.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is there already: name a new folder, or empty it")
    manifest, path = _find(export)
    _check_task(manifest)
    kmodel = _read_kmodel(path, manifest)
    content = write_kmodel(kmodel)
    if len(content) + kmodel.main_bytes > MAIN_BYTES:
        raise BundleError(
            f"{manifest.model} takes {len(content)} bytes and {kmodel.main_bytes} to work in: a "
            f"K210 has {MAIN_BYTES}"
        )
    height, width = manifest.input.shape[2:]
    found = budget(kmodel, len(content))
    values = {
        "manifest": manifest,
        "kmodel": path.name,
        "budget": BUDGET,
        "memory": found.memory,
        "estimated_ms": found.estimated_ms,
        "height": height,
        "width": width,
        "zoom": _zoom(height, width),
        "step": -(-max(height, width) // _PLACES),
        "colors": _colors(manifest),
        "kmodel_bytes": len(content),
        "main_bytes": kmodel.main_bytes,
    }
    templates = open_templates(_TEMPLATES)
    with staged_folder(out) as folder:
        (folder / path.name).write_bytes(content)
        (folder / BUDGET).write_text(budget_markdown(manifest.model, found), encoding="utf-8")
        for name in ("main.py", "README.md"):
            text = templates.get_template(f"{name}.jinja").render(values)
            (folder / name).write_text(text, encoding="utf-8")
        make_verifiable(folder, Reopened(path.parent, manifest))
        files = tuple(sorted(file.name for file in folder.iterdir()))
    return MaixpyBundle(out, files, len(content), kmodel.main_bytes)


def join_outputs(kmodel: Kmodel) -> Kmodel:
    """The same network with one output that MaixPy reads as floats: all outputs, end to end.

    The outputs must be floats already. A network that needs no change is returned as it is.

    Raises:
        KmodelError: an output is not float32: its numbers have no scale.
    """
    for index, tensor in enumerate(Simulator(kmodel).outputs):
        if tensor.dtype != "float32":
            raise KmodelError(f"output {index} is {tensor.dtype}: a Dequantize has to end it")
    last = kmodel.layers[-1]
    if len(kmodel.outputs) == 1 and isinstance(last, _FLOAT_LAYERS):
        return kmodel
    start = round_up(kmodel.main_bytes, 8)
    ranges = np.array([(o.address, o.size_bytes) for o in kmodel.outputs], np.uint32)
    size = int(ranges[:, 1].sum())
    join = m.Concat(output=start, input_count=len(ranges), ranges=ranges)
    return replace(
        kmodel,
        layers=(*kmodel.layers, join),
        outputs=(Output(start, size),),
        main_bytes=start + round_up(size, 8),
    )


def _find(export: Path) -> tuple[Manifest, Path]:
    """The manifest, and the kmodel that it is about."""
    folder = export if export.is_dir() else export.parent
    path = folder / MANIFEST
    if not export.exists():
        raise BundleError(f"no export at {export}")
    if not path.exists():
        raise BundleError(
            f"no {MANIFEST} beside {export.name}: a bundle is made of an export's folder, which "
            f"`edgeark export MODEL --to k210` writes"
        )
    manifest = read_manifest(folder)
    names = [Path(file.name).name for file in manifest.files]
    found = [name for name in names if name.endswith(".kmodel")]
    wanted = found[0] if export.is_dir() and found else export.name
    if wanted not in found:
        raise BundleError(f"{path} is about {', '.join(names) or 'no file'}: no kmodel to bundle")
    return manifest, folder / wanted


def _check_task(manifest: Manifest) -> None:
    if not (_TEMPLATES / f"{manifest.task}.py.jinja").exists():
        found = sorted(path.name.partition(".")[0] for path in _TEMPLATES.glob("*.py.jinja"))
        known = ", ".join(name for name in found if name != "main")
        raise BundleError(f"{manifest.model}: no main.py for {manifest.task}: there are {known}")
    _, channels, height, width = manifest.input.shape
    color = {1: "gray", 3: "rgb"}.get(channels)
    if manifest.input.color != color:
        raise BundleError(
            f"{manifest.model} takes {channels} channels of {manifest.input.color}: MaixPy's "
            f"camera gives 1 of gray or 3 of rgb"
        )
    if height > CAMERA_SIZE[0] or width > CAMERA_SIZE[1]:
        raise BundleError(
            f"{manifest.model} takes {width}x{height} pixels: the camera's image has "
            f"{CAMERA_SIZE[1]}x{CAMERA_SIZE[0]}; create it with a smaller input_size"
        )
    try:
        wanted = get_task(manifest.task).decoded_shapes(manifest.spec)
    except EdgearkError as error:
        raise BundleError(f"{manifest.model}: {error}") from None
    found = [output.shape for output in manifest.outputs]
    if list(map(_without_ones, found)) != list(map(_without_ones, wanted)):
        raise BundleError(
            f"{manifest.model}: outputs {found} in the manifest, decoded are {wanted}"
        )


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """``[1, C, 1, 1]`` holds the same numbers in the same order as ``[1, C]``."""
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _read_kmodel(path: Path, manifest: Manifest) -> Kmodel:
    with path.open("rb") as file:
        data = file.read(MAIN_BYTES + 1)
    listed = {Path(file.name).name: file.sha256 for file in manifest.files}
    try:
        kmodel = join_outputs(read_kmodel(data))
    except KmodelError as error:
        raise KmodelError(f"{path.name}: {error}") from None
    if hashlib.sha256(data).hexdigest() != listed[path.name]:
        raise BundleError(
            f"{path.name} is not the file that its {MANIFEST} describes: export again"
        )
    if kmodel.input.shape != manifest.input.shape[1:]:
        raise BundleError(
            f"{path.name} takes {list(kmodel.input.shape)}, its manifest says "
            f"{list(manifest.input.shape[1:])}"
        )
    numbers = sum(int(np.prod(output.shape)) for output in manifest.outputs)
    if kmodel.outputs[0].size_bytes != 4 * numbers:
        raise BundleError(
            f"{path.name} gives {kmodel.outputs[0].size_bytes // 4} numbers, its manifest says "
            f"{numbers}"
        )
    return kmodel


def _colors(manifest: Manifest) -> list[int] | list[tuple[int, ...]]:
    """A mask's colours by class, as the image on the display takes them."""
    known = class_colors(len(manifest.head.classes))
    if manifest.input.color == "gray":
        return [0] + [255] * len(known)
    return [(0, 0, 0), *known.values()]


def _zoom(height: int, width: int) -> int:
    """How many camera pixels, along each side, one pixel of the input is taken from.

    As many as the image has room for: a digit of 28 pixels would be a speck otherwise. Windows
    whose sides are multiples of 8 are preferred: the camera's others are garbled.
    """
    most = min(CAMERA_SIZE[0] // height, CAMERA_SIZE[1] // width)
    return max(
        range(1, most + 1),
        key=lambda zoom: (width * zoom % _WINDOW_STEP + height * zoom % _WINDOW_STEP == 0, zoom),
    )
