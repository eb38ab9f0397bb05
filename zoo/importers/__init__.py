"""Other people's weights into ours: one file per origin, explicit rules from name to name.

Order and dictionary layout are never relied upon: a safetensors file sorts its tensors.
"""

from .timm import from_timm
from .torchvision import from_torchvision
from .unet import from_unet_checkpoint

__all__ = ["from_timm", "from_torchvision", "from_unet_checkpoint"]
