"""An encoder of the zoo as a part for another network: an image in, feature maps out.

``create_backbone`` gives what timm calls ``features_only``: a module that returns a list of maps,
with timm's ``feature_info`` beside it. Its children are the encoder's stages in the order in which
they run, so torchvision's ``BackboneWithFPN`` takes it too. The heads are gone, and so is every
stage behind the last map that is asked for.

torch alone is needed; :mod:`edgeark.zoo.timm_models` makes the same known to timm.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..errors import ModelError
from .registry import create_model
from .spec import name_of, spec_of
from .stages import Stage, feature_stages, measure_stages

_PROBE = (64, 64)  # pixels: enough for channels and reductions, and over in milliseconds


class FeatureInfo:
    """What each feature map is; reads as ``timm.models.FeatureInfo`` does, and needs no timm.

    Args:
        stages: every map of the encoder.
        out_indices: those that the backbone returns, in its order; none is negative.
    """

    def __init__(self, stages: Sequence[Stage], out_indices: Sequence[int]) -> None:
        self.out_indices = tuple(out_indices)
        self.info: list[dict[str, Any]] = [
            {
                "num_chs": stage.channels,
                "reduction": stage.reduction,
                "module": _stage_name(stage.index),
                "index": stage.index,
            }
            for stage in stages
        ]

    def get_dicts(
        self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None
    ) -> Any:
        """Facts of the maps at ``idx`` (of those returned, unless given): all, or ``keys`` only."""
        if isinstance(idx, int):
            return {key: self.info[idx][key] for key in keys or self.info[idx]}
        indices = self.out_indices if idx is None else idx
        return [self.get_dicts(keys, index) for index in indices]

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """One fact of the map ``idx``, or a list of it over several (those returned)."""
        found = self.get_dicts([key], idx)
        return found[key] if isinstance(found, dict) else [facts[key] for facts in found]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("module", idx)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.info[index]

    def __len__(self) -> int:
        return len(self.info)


class Backbone(nn.ModuleDict):
    """``[N, in_channels, H, W] -> [[N, C, H / reduction, W / reduction], ...]``, one per index.

    The size of the image is free; where its sides are no multiples of the largest reduction, the
    maps' sides are rounded (down by a pool, up by a convolution), and a decoder that doubles them
    does not meet them again.

    ``spec`` and ``name`` are the model's: ``spec.mean`` and ``spec.std`` say how to feed it.
    """

    def __init__(self, model: nn.Module, out_indices: Sequence[int] | None = None) -> None:
        name, stages = name_of(model), feature_stages(model)
        if not stages:
            raise ModelError(f"{name} has no feature stages to serve as a backbone")
        indices = _absolute(name, out_indices, len(stages))
        kept = stages[: max(indices) + 1]
        super().__init__({_stage_name(index): stage for index, stage in enumerate(kept)})
        self.name = name
        self.spec = spec_of(model)
        self.out_indices = indices
        self.feature_info = FeatureInfo(measure_stages(model, _PROBE), indices)
        self.out_channels = self.feature_info.channels()  # of each map that is returned

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: dict[int, Tensor] = {}
        for index, stage in enumerate(self.values()):
            x = stage(x)
            if index in self.out_indices:
                maps[index] = x
        return [maps[index] for index in self.out_indices]


def create_backbone(
    name: str,
    out_indices: Sequence[int] | None = None,
    *,
    pretrained: bool = False,
    weights: str | Path | None = None,
    in_channels: int | None = None,
    **kwargs: Any,
) -> Backbone:
    """The encoder of a model of the zoo.

    Args:
        name: one of :func:`list_models`.
        out_indices: which feature maps to return, in this order; negative ones count from the
            deepest. All of them unless given.
        pretrained: start from the weights that ship with edgeark, or else from published ones, as
            :func:`create_model` does.
        weights: start from this safetensors file (a whole model's, as training writes it).
        in_channels: 1 (gray) or 3 (colour); the model's own unless given.
        **kwargs: the builder's own arguments (``act``, ``width`` ...).

    Raises:
        ModelError: unknown name or argument, or an index that the encoder does not have.
        WeightsError: the weights do not fit this network.
    """
    if in_channels is not None:
        kwargs["in_channels"] = in_channels
    return Backbone(
        create_model(name, pretrained=pretrained, weights=weights, **kwargs), out_indices
    )


def _stage_name(index: int) -> str:
    return f"stage{index}"


def _absolute(name: str, out_indices: Sequence[int] | None, count: int) -> tuple[int, ...]:
    """``out_indices`` counted from the first map."""
    indices = range(count) if out_indices is None else out_indices
    if not indices:
        raise ModelError(f"{name}: out_indices is empty; name at least one feature map")
    if wrong := [index for index in indices if not -count <= index < count]:
        raise ModelError(
            f"{name} has {count} feature maps, 0 to {count - 1} or -{count} to -1; "
            f"out_indices has {wrong[0]}"
        )
    return tuple(index % count for index in indices)
