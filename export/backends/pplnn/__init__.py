"""OpenPPL PPLNN."""

TARGETS = {"pplnn": "PplNn"}  # family name: class in target.py
RANK = 70  # its place in listings
