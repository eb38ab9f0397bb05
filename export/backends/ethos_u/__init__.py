"""Arm Ethos-U, microcontroller NPUs."""

TARGETS = {"ethos-u": "EthosU"}  # family name: class in target.py
RANK = 140  # its place in listings
