"""Qualcomm's Hexagon HTP."""

TARGETS = {"qnn": "Qnn"}  # family name: class in target.py
RANK = 125  # its place in listings
