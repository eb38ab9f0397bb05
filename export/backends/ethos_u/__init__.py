"""Arm Ethos-U, microcontroller NPUs."""

TARGETS = {"ethos-u": "EthosU"}  # family name: class in target.py
