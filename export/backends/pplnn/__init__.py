"""OpenPPL PPLNN."""

TARGETS = {"pplnn": "PplNn"}  # family name: class in target.py
