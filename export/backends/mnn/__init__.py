"""Alibaba MNN."""

TARGETS = {"mnn": "Mnn"}  # family name: class in target.py
RANK = 40  # its place in listings
