"""Random changes to a batch of images, different ones for each image.

torchvision's transforms draw once per call, so a batch would need a Python loop; on images of
32x32 that loop costs as much as a small network. These are the same transformations, batched.
Images are float ``[N, C, H, W]`` in 0..255, in and out.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, max_pool2d, pad

_SMALL_MARK = 0.05  # of an image's area
_MARGIN = 0.03  # of an image's side


def random_affine(
    images: Tensor,
    degrees: float = 0.0,
    translate: float = 0.0,
    scale: float = 0.0,
    shear: float = 0.0,
    outside: Literal["zeros", "reflection"] = "zeros",
) -> Tensor:
    """Rotate, shift, scale and shear each image; what comes in from outside is 0 (black).

    Args:
        images: float ``[N, C, H, W]``.
        degrees: rotation is uniform in ``[-degrees, degrees]``.
        translate: shift in each direction, as a fraction of the side.
        scale: the factor is uniform in ``[1 - scale, 1 + scale]``, for each axis on its own.
        shear: horizontal shear, in degrees.
        outside: ``reflection`` mirrors the image at its edges instead of the black.
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
    return grid_sample(images, grid, mode="bilinear", padding_mode=outside, align_corners=False)


def random_crop(images: Tensor, shift: int) -> Tensor:
    """Move each image by up to ``shift`` pixels each way; the edge is mirrored outwards."""
    if shift == 0:
        return images
    count, _, height, width = images.shape
    padded = pad(images, (shift,) * 4, mode="reflect")
    top, left = torch.randint(0, 2 * shift + 1, (2, count, 1), device=images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    batch = torch.arange(count, device=images.device)
    channels_last = padded.permute(0, 2, 3, 1)
    picked = channels_last[batch[:, None, None], rows[:, :, None], columns[:, None, :]]
    return picked.permute(0, 3, 1, 2)


def copy_paste(images: Tensor, masks: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Lay the small marks of each image's neighbour in the batch over that share of the images.

    So a defect is seen on many grounds. It stays where it was in its own image, takes on the
    brightness of what surrounds it in the new one, and blends over some pixels. Marks over a
    twentieth of the image are part of their ground, those near an edge part of its outline:
    neither is moved. The idea is simple copy-paste (Ghiasi et al., 2021).

    Args:
        images: float ``[N, C, H, W]``.
        masks: uint8 ``[N, H, W]``; 0 is unmarked.
        share: 0..1.

    Returns:
        New images and masks.
    """
    if share == 0:
        return images, masks
    donors, marks = images.roll(1, 0), masks.roll(1, 0)
    spot = (marks > 0).float()[:, None]
    margin = max(1, round(_MARGIN * min(masks.shape[1:])))
    inside = spot[..., margin:-margin, margin:-margin]
    area, whole = spot.mean((1, 2, 3)), inside.sum((1, 2, 3)) == spot.sum((1, 2, 3))
    chosen = torch.rand(len(images), device=images.device) < share
    chosen &= (area > 0) & (area < _SMALL_MARK) & whole
    marks, spot = marks * chosen[:, None, None], spot * chosen[:, None, None, None]
    wide, wider = (max_pool2d(spot, side, stride=1, padding=side // 2) for side in (5, 13))
    around = wider - wide
    count = around.sum((2, 3), keepdim=True).clamp(min=1)
    lighter = ((images - donors) * around).sum((2, 3), keepdim=True) / count
    weight = avg_pool2d(wide, 5, stride=1, padding=2)
    pasted = images + weight * (donors + lighter - images)
    return pasted.clamp(0, 255), torch.where(marks > 0, marks, masks)


def random_flip(images: Tensor, share: float, dim: int = 3) -> Tensor:
    """Mirror that share of the images: left to right, or for ``dim`` 2 upside down."""
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < share
    return torch.where(chosen, images.flip(dim), images)


def random_rot90(images: Tensor, share: float) -> Tensor:
    """Mirror that share at the diagonal: with both flips, every turn by 90 degrees is possible.

    Images that are not square stay as they are.
    """
    if images.shape[2] != images.shape[3]:
        return images
    chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < share
    return torch.where(chosen, images.transpose(2, 3), images)


def random_erase(images: Tensor, side: float) -> Tensor:
    """Blank a square of ``side`` times the shorter side in each image, to the batch's mean."""
    if side == 0:
        return images
    count, _, height, width = images.shape
    half = side * min(height, width) / 2
    y, x = torch.rand(2, count, 1, device=images.device)
    rows = (torch.arange(height, device=images.device) + 0.5 - y * height).abs() < half
    columns = (torch.arange(width, device=images.device) + 0.5 - x * width).abs() < half
    square = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(square, images.mean(dim=(0, 2, 3), keepdim=True), images)


def color_jitter(images: Tensor, amount: float) -> Tensor:
    """Scale brightness, contrast and each channel by factors in ``[1 - amount, 1 + amount]``."""
    count, channels = images.shape[:2]
    factors = 1 + amount * (2 * torch.rand(count, channels + 2, 1, 1, device=images.device) - 1)
    brightness, contrast = factors[:, :1], factors[:, 1:2]
    tinted = images * (factors[:, 2:] * brightness)
    mean = tinted.mean(dim=(1, 2, 3), keepdim=True)
    return ((tinted - mean) * contrast + mean).clamp(0, 255)


def random_gamma(images: Tensor, amount: float) -> Tensor:
    """Raise each image, as 0..1, to a power in ``[1 / (1 + amount), 1 + amount]``."""
    drawn = 2 * torch.rand(len(images), 1, 1, 1, device=images.device) - 1
    return 255 * (images / 255).clamp(0, 1) ** ((1 + amount) ** drawn)
