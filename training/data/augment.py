"""Random affine distortion of a batch, a different one for each picture.

torchvision's RandomAffine draws one distortion per call, so a batch would need a Python loop; on
28x28 digits that loop costs more than the network. This is the same transformation, batched.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def random_affine(
    images: Tensor,
    degrees: float = 0.0,
    translate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
) -> Tensor:
    """Rotate, shift, scale and shear each picture; what comes in from outside is 0 (black).

    Args:
        images: float ``[N, C, H, W]``.
        degrees: rotation is uniform in ``[-degrees, degrees]``.
        translate: shift in each direction, as a fraction of the side.
        scale: the factor is uniform in ``[1 - scale, 1 + scale]``, for each axis on its own.
        shear: horizontal shear, in degrees.
    """
    count, device = len(images), images.device

    def uniform(limit: float) -> Tensor:
        return (torch.rand(count, device=device) * 2 - 1) * limit

    angle, slant = uniform(math.radians(degrees)), uniform(math.radians(shear)).tan()
    cos, sin = angle.cos(), angle.sin()
    scale_x, scale_y = 1 + uniform(scale), 1 + uniform(scale)
    theta = torch.stack(
        [
            torch.stack([cos / scale_x, (slant * cos - sin) / scale_y, uniform(2 * translate)], 1),
            torch.stack([sin / scale_x, (slant * sin + cos) / scale_y, uniform(2 * translate)], 1),
        ],
        1,
    )
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
