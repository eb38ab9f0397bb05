"""Generations of Hexagon's tensor processor (HTP), each with a chip that has it.

The emulator computes float16 as a chip does only where it is told the chip as well: without, it
computes in float32, and does not finalize larger graphs.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Htp:
    """One generation.

    Args:
        arch: the name behind ``qnn:``.
        soc: a chip with it.
        soc_model: the number by which Qualcomm's SDK knows that chip.
        has_float16: it computes float16.
    """

    arch: str
    soc: str
    soc_model: int
    has_float16: bool = True

    @property
    def options(self) -> dict[str, str]:
        """As options of the execution provider."""
        return {"htp_arch": self.arch.removeprefix("v"), "soc_model": str(self.soc_model)}


_KNOWN = (
    Htp("v68", "SM8350 (Snapdragon 888)", 30, has_float16=False),
    Htp("v69", "SM8450 (Snapdragon 8 Gen 1)", 36),
    Htp("v73", "SM8550 (Snapdragon 8 Gen 2)", 43),
    Htp("v75", "SM8650 (Snapdragon 8 Gen 3)", 57),
    Htp("v79", "SM8750 (Snapdragon 8 Elite)", 69),
    Htp("v81", "SM8850 (Snapdragon 8 Elite Gen 5)", 87),
)

CHIPS = {htp.arch: htp for htp in _KNOWN}
