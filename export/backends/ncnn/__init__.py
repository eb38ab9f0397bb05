"""Tencent ncnn."""

TARGETS = {"ncnn": "Ncnn"}  # family name: class in target.py
