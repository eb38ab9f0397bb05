"""Where a network comes from: the zoo, a user's own code, timm, torchvision, or a file."""

from ...errors import SourceError
from .metric import load_metric
from .network import Source
from .open import open_source
from .shapes import InputOptions
from .weights_file import read_state_dict

__all__ = [
    "InputOptions",
    "Source",
    "SourceError",
    "load_metric",
    "open_source",
    "read_state_dict",
]
