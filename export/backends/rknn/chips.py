"""What sets Rockchip's chips apart, and what the rules say of them all."""

from __future__ import annotations

MINI_CHIPS = ("rv1103", "rv1106", "rv1103b", "rv1106b")  # int8 alone, and few CPU operators
CPU = "it runs on the CPU"
