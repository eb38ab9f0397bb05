"""Data sets by name: where they are found, and one adapter a format."""

from .images import ImageSet, load_images
from .sources import find_dataset

__all__ = ["ImageSet", "find_dataset", "load_images"]
