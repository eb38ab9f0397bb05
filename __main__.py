"""``python -m edgeark``."""

from .entry import main

main()
