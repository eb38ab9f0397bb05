"""Alibaba MNN."""

TARGETS = {"mnn": "Mnn"}  # family name: class in target.py
