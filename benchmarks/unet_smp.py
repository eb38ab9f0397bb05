"""unet_16 beside segmentation_models.pytorch's UNet of the same size, trained by one recipe.

    python benchmarks/unet_smp.py

trains smp's (1.06 M parameters on timm's LCNet, without pretraining) on the magnetic tiles with
every setting of ``unet_16``'s recipe but its start, which is for our blocks: as many steps, the
same images, the same distortions. It prints the mean Dice over the marked test images beside
that of the weights that ship. It takes as long as training a network of 0.7 GMACs does.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import segmentation_models_pytorch as smp
from edgeark.export.evaluate import evaluate_model
from edgeark.training.config import load_recipe
from edgeark.training.progress import Progress
from edgeark.training.unet import train
from edgeark.zoo import model_entry, register_model
from torch import nn

_SPEC = replace(model_entry("unet_16").spec, description="smp's UNet on LCNet")


@register_model(_SPEC)
def smp_unet(
    num_classes: int = 1, in_channels: int = 1, input_size: tuple[int, int] = (224, 224)
) -> nn.Module:
    """1,059,889 parameters and 0.74 GMACs; unet_16 has 1,080,641 and 1.92."""
    return smp.Unet(
        "tu-lcnet_050",
        encoder_weights=None,
        in_channels=in_channels,
        classes=num_classes,
        decoder_channels=(128, 64, 32, 16, 16),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/smp_unet"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--resume", action="store_true")
    chosen = parser.parse_args()
    recipe = load_recipe("unet_16", model="smp_unet", whiten=False)
    outcome = train(recipe, chosen.out, data=chosen.data, resume=chosen.resume, progress=Progress())
    (ours,) = evaluate_model("unet_16", "pytorch", data=chosen.data)
    assert ours.metric is not None
    sys.stdout.write(f"smp_unet  {outcome.metric} {outcome.test}  {outcome.details}\n")
    found = ours.metric
    sys.stdout.write(f"unet_16   {found.name} {found.value}  {dict(found.details)}\n")


if __name__ == "__main__":
    main()
