"""Apple Core ML, for iOS and macOS."""

TARGETS = {"coreml": "CoreMl"}  # family name: class in target.py
RANK = 110  # its place in listings
