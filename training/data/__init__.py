"""Data sets by name: one registered class a format, and the arrays that they become."""

from __future__ import annotations

from . import coco, image_folder, labelling_tools, mask_folder, public, voc, yolo  # noqa: F401
from .formats import Frame, detect_format, find_format, list_formats, load_images
from .images import ImageSet
from .sources import find_dataset

__all__ = [
    "Frame",
    "ImageSet",
    "detect_format",
    "find_dataset",
    "find_format",
    "list_formats",
    "load_images",
]
