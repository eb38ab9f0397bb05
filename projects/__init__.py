"""Projects of one's own, written from templates: ``edgeark new DIR --template unet``."""
