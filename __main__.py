"""``python -m edgeark``."""

from .cli import main

main()
