"""A recipe: everything that decides a training's result, read from TOML and checked at once."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..core.files import read_text_file
from ..core.messages import describe_invalid, suggest
from ..errors import EdgearkError
from .qat import SchemeName

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECIPES_DIR = Path(__file__).resolve().parent / "recipes"


_MOST = 10**6
_OTHERWISE = "edgeark recipes lists those that ship; or give a TOML file"


class RecipeError(EdgearkError):
    """A recipe is missing or says something impossible."""


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Finite numbers that a network can have, words, and lists of these."""
    for name, value in arguments.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, float) and not math.isfinite(each):
                raise ValueError(f"{name} = {each}: a number has to be finite")
            if isinstance(each, int) and abs(each) > _MOST:
                raise ValueError(f"{name} = {each}: that is too large")
    return arguments


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OptimConfig(Section):
    """An optimizer under a cosine schedule with linear warm-up, averaged by an EMA.

    ``sgd`` has Nesterov's momentum of 0.9.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(gt=0, le=1000)
    weight_decay: float = Field(default=0.01, ge=0, le=100)
    warmup_epochs: float = Field(default=1.0, ge=0, le=_MOST)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    clip_norm: float = Field(default=0.0, ge=0, description="largest norm of the gradient; 0: any")


class AugmentConfig(Section):
    """Limits of the changes in :mod:`edgeark.training.data.augment` and, with boxes, ``mosaic``."""

    degrees: float = Field(default=0.0, ge=0, le=180)
    translate: float = Field(default=0.0, ge=0, le=0.5)
    scale: float = Field(default=0.0, ge=0, lt=1)
    shear: float = Field(default=0.0, ge=0, lt=90)
    crop_padding: int = Field(default=0, ge=0, le=4096, description="pixels around a random crop")
    hflip: float = Field(default=0.0, ge=0, le=1, description="probability")
    vflip: float = Field(default=0.0, ge=0, le=1, description="probability")
    rot90: float = Field(default=0.0, ge=0, le=1, description="probability of a turn by 90 degrees")
    erase: float = Field(default=0.0, ge=0, le=1, description="side of the blank square")
    color_jitter: float = Field(default=0.0, ge=0, lt=1)
    gamma: float = Field(default=0.0, ge=0, le=10)
    perspective: float = Field(default=0.0, ge=0, lt=0.5, description="how much nearer an edge is")
    mosaic: float = Field(default=0.0, ge=0, le=1, description="share made of four images")
    copy_paste: float = Field(default=0.0, ge=0, le=1, description="share with pasted foreground")
    close_mosaic: int = Field(default=0, ge=0, description="last epochs without mosaics")
    progressive_resize_epochs: int = Field(
        default=0, ge=0, description="first epochs, trained at half the size"
    )

    def affine(self) -> dict[str, Any]:
        """The arguments of :func:`edgeark.training.data.augment.random_affine`."""
        return self.model_dump(include={"degrees", "translate", "scale", "shear"})


class QatConfig(Section):
    """Quantisation-aware fine-tuning (:mod:`edgeark.training.qat`): how, and whether."""

    scheme: SchemeName | Literal[""] = Field(default="", description="whose rounding; empty: none")
    epochs: int = Field(default=10, gt=0, le=_MOST)
    lr: float = Field(default=0.0, ge=0, le=1000, description="0: a tenth of optim.lr")


class Recipe(Section):
    """One training. ``script`` names the module of ``edgeark.training`` that knows the task."""

    model: str
    dataset: str
    script: Literal["mnist", "vgg", "mobilenet", "unet", "yolov5", "yolov8", "yolox"]
    epochs: int = Field(gt=0, le=_MOST)
    batch_size: int = Field(gt=1, le=_MOST, description="of all processes together")
    accumulate: int = Field(
        default=1, ge=1, le=_MOST, description="batches whose gradients are one step"
    )
    whiten: bool = Field(
        default=False, description="whitening filters, on int8's grid in the end, and identities"
    )
    val_size: int = Field(
        default=0, ge=0, le=10**9, description="training images held out for validation"
    )
    patience: int = Field(default=0, ge=0, description="epochs without gain to stop at; 0: never")
    ignore: int | None = Field(
        default=None, ge=0, le=255, description="mask value that belongs to no class"
    )
    min_steps: int = Field(
        default=0, ge=0, description="optimizer steps on data of one's own; 0: epochs decide"
    )
    pretrained: str = Field(
        default="none", description="features to begin with: auto, none, a model or a file"
    )
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    channels_last: bool = Field(default=False, description="NHWC in memory: faster on CPUs")
    seed: int = Field(default=0, ge=0, lt=2**32)
    target_metric: float = Field(
        default=0.0, ge=0, le=1, description="the figure that a run should reach"
    )
    model_args: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(default_factory=dict)
    optim: OptimConfig
    augment: AugmentConfig = AugmentConfig()
    qat: QatConfig = QatConfig()

    def equals(self, dumped: str) -> bool:
        """Whether JSON of a recipe says the same; fields that it does not know are at defaults."""
        try:
            return Recipe.model_validate_json(dumped).model_dump_json() == self.model_dump_json()
        except ValidationError:
            return False

    def with_input_size(self, size: tuple[int, int]) -> Recipe:
        """The same for an input of ``(height, width)``."""
        return self.model_copy(update={"model_args": {**self.model_args, "input_size": list(size)}})

    def for_qat(self, scheme: SchemeName, epochs: int | None = None) -> Recipe:
        """The fine-tuning of what this recipe trains, in float32: bfloat16 has too few digits."""
        optim = self.optim.model_copy(
            update={"lr": self.qat.lr or self.optim.lr / 10, "warmup_epochs": 0.0}
        )
        return self.model_copy(
            update={
                "epochs": epochs or self.qat.epochs,
                "precision": "32-true",
                "optim": optim,
                "qat": self.qat.model_copy(update={"scheme": scheme}),
            }
        )


def list_recipes() -> list[str]:
    """Names of the recipes that ship with edgeark."""
    return sorted(path.stem for path in RECIPES_DIR.glob("*.toml"))


def load_recipe(name_or_path: str | Path, **overrides: Any) -> Recipe:
    """A recipe by name or by file, with single values replaced.

    Args:
        name_or_path: a name of :func:`list_recipes`, or the path of a TOML file.
        **overrides: top-level fields to replace; None leaves the recipe's value.

    Raises:
        RecipeError: no such recipe, not TOML, or a field that is unknown or out of range.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml":
        path = RECIPES_DIR / f"{name_or_path}.toml"
    try:
        fields = tomllib.loads(read_text_file(path))
    except FileNotFoundError:
        hint = suggest(Path(name_or_path).stem, list_recipes(), _OTHERWISE)
        raise RecipeError(f"no recipe {name_or_path}; {hint}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise RecipeError(f"cannot read recipe {path}: {error}") from None
    fields.update({key: value for key, value in overrides.items() if value is not None})
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError(f"recipe {path.name}: {describe_invalid(error)}") from None
