"""Kendryte K210, by edgeark's own compiler."""

TARGETS = {"k210": "K210"}  # family name: class in target.py
RANK = 150  # its place in listings
