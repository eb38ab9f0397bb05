"""A project of one's own: a recipe, a network, two scripts and a README that says what to run.

The figures of the recipe are those of the recipe that ships for the family, so that they are kept
in one place.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..core.messages import suggest
from ..errors import EdgearkError
from ..export.results.folder import staged_folder
from ..training.config import AugmentConfig, OptimConfig, Recipe, load_recipe
from ..zoo.registry import model_entry
from ..zoo.spec import ModelSpec
from .example import write_example

IMAGES = "images"
_TEMPLATES = Path(__file__).parent / "templates"
_FILES = (
    *("README.md", "recipe.toml", "model.py", "train.py", "export.py", "bundle.py"),
    ".gitignore",
)
_RUN_FIELDS = (  # what a user may want to change of a run
    *("epochs", "min_steps", "batch_size", "accumulate", "val_size", "patience"),
    *("precision", "channels_last", "seed"),
)


class ProjectError(EdgearkError):
    """A project that cannot be written."""


@dataclass(frozen=True)
class Template:
    """A family's project: ``recipe`` has its figures, ``dataset`` is the format of the images.

    ``lr`` is the recipe's, scaled to a ``batch_size`` that a few dozen images can fill.
    ``public`` is a data set that edgeark knows by name.
    """

    recipe: str
    dataset: str
    public: str
    batch_size: int
    lr: float


TEMPLATES = {
    "mnist": Template("mnist_kpu", "image_folder", "digits", 32, 1e-3),
    "vgg": Template("vgg_s", "image_folder", "cifar10", 32, 0.025),
    "mobilenet": Template("mobilenet_v1_050", "image_folder", "sign_digits", 32, 3e-3),
    "unet": Template("unet_16", "mask_folder", "magnetic_tile", 16, 2e-3),
    "yolov5": Template("yolov5n_bccd", "yolo_txt", "bccd", 16, 2e-3),
    "yolo11": Template("yolo11n_bccd", "yolo_txt", "bccd", 8, 1.5e-3),
    "yolox": Template("yolox_nano_bccd", "yolo_txt", "bccd", 8, 2e-3),
}


@dataclass(frozen=True)
class Project:
    """A written project; the files are relative to its folder, without the example images."""

    folder: Path
    files: tuple[str, ...]
    images: int


def create_project(folder: Path, template: str, example: bool = False) -> Project:
    """Write a project into ``folder``, all of it or nothing.

    Args:
        folder: it must not exist, or be empty.
        template: one of ``TEMPLATES``.
        example: also write some generated images in the layout that the project reads.

    Raises:
        ProjectError: no such template, or something is in the folder.
    """
    if template not in TEMPLATES:
        hint = suggest(template, TEMPLATES, f"there are {', '.join(TEMPLATES)}")
        raise ProjectError(f"no template {template!r}; {hint}")
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ProjectError(f"{folder} is there already: name a new folder, or empty it")
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["toml"] = json.dumps  # of numbers, words and lists TOML is as JSON
    values = _values(template, folder.name)
    with staged_folder(folder) as staging:
        for name in _FILES:
            source = environment.get_template(f"{name.lstrip('.')}.jinja")
            (staging / name).write_text(source.render(values), encoding="utf-8")
        count = write_example(staging / IMAGES, values["dataset"]) if example else 0
    return Project(folder, _FILES, count)


def _values(name: str, project: str) -> dict[str, Any]:
    """What the templates are filled with."""
    template = TEMPLATES[name]
    recipe = load_recipe(
        template.recipe, batch_size=template.batch_size, val_size=0, precision="32-true"
    )
    spec = model_entry(recipe.model).spec
    optim = recipe.optim.model_dump() | {"lr": template.lr}
    return {
        "project": project,
        "images": IMAGES,
        "template": name,
        "model": f"my_{name}",
        "base": recipe.model,
        "dataset": template.dataset,
        "public": template.public,
        "task": spec.task,
        "script": recipe.script,
        "model_args": _model_args(recipe, spec),
        "run": {key: getattr(recipe, key) for key in _RUN_FIELDS},
        "optim": optim,
        "augment": recipe.augment.model_dump(exclude_defaults=True),
        "notes": _notes(),
    }


def _model_args(recipe: Recipe, spec: ModelSpec) -> dict[str, Any]:
    sizes = {"input_size": spec.input_size, "in_channels": spec.in_channels}
    return sizes | recipe.model_args


def _notes() -> dict[str, str]:
    """What the recipe's fields say of themselves, and what a beginner asks of the others."""
    sections = (Recipe, OptimConfig, AugmentConfig)
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    own = {
        "val_size": "training images that choose the best epoch; 0: a fitting share",
        "precision": "bf16-mixed is faster on GPUs and on CPUs that have bfloat16",
        "input_size": "height, width",
        "in_channels": "1: gray, 3: colour",
        "name": "adamw or sgd",
        "ema_decay": "of the averaged weights, which are the ones that are kept",
        "scale": "sizes differ by this share",
        "translate": "share of the side",
        "color_jitter": "brightness, contrast and colours differ by this share",
    }
    return {name: f.description for name, f in fields.items() if f.description} | own
