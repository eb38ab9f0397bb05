"""Other people's weights into ours: one file per origin, explicit rules from name to name.

Order and dictionary layout are never relied upon: a safetensors file sorts its tensors.
"""

from .convert import Imported, import_weights
from .timm import from_timm
from .torchvision import from_torchvision
from .ultralytics import from_ultralytics
from .ultralytics_dfl import from_ultralytics_dfl
from .unet import from_unet_checkpoint
from .yolox import from_yolox

__all__ = [
    "Imported",
    "from_timm",
    "from_torchvision",
    "from_ultralytics",
    "from_ultralytics_dfl",
    "from_unet_checkpoint",
    "from_yolox",
    "import_weights",
]
