"""Boards by which a network is judged: the memory that an arena and a file find there.

``ram`` is the largest block of memory without a gap, since an arena is one array; the firmware's
own variables and its stack need a part of it. ``flash`` is all of it; its code lies there too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...targets.base import Diagnostic

KIB, MIB = 2**10, 2**20
_TIGHT = 0.9  # of a board's memory: what is left is said


@dataclass(frozen=True)
class Board:
    """A microcontroller as it is sold on a board; sizes in bytes.

    Args:
        chip: the name behind ``tflm:``.
        description: board and chip.
        ram: the largest block.
        flash: as sold.
        source: the documents that state both.
    """

    chip: str
    description: str
    ram: int
    flash: int
    source: str


_BOARDS = (
    Board(
        "rp2040",
        "Raspberry Pi Pico: RP2040, 264 KB SRAM",
        264 * KIB,
        2 * MIB,
        "RP2040 datasheet, 2.6.2 SRAM; Raspberry Pi Pico datasheet",
    ),
    Board(
        "rp2350",
        "Raspberry Pi Pico 2: RP2350, 520 KB SRAM",
        520 * KIB,
        4 * MIB,
        "RP2350 datasheet, SRAM; Raspberry Pi Pico 2 datasheet",
    ),
    Board(
        "esp32s3",
        "ESP32-S3-WROOM-1-N8: 416 of the 512 KB SRAM (SRAM1) are one block for data",
        416 * KIB,
        8 * MIB,
        "ESP32-S3 technical reference manual, System and Memory; ESP32-S3-WROOM-1 datasheet",
    ),
    Board(
        "esp32s3-psram",
        "ESP32-S3-WROOM-1-N8R8: 8 MB octal PSRAM, slower than SRAM",
        8 * MIB,
        8 * MIB,
        "ESP32-S3-WROOM-1 datasheet",
    ),
    Board(
        "stm32h7",
        "STM32H743xI: 512 of the 1,056 KB RAM (AXI SRAM) are one block",
        512 * KIB,
        2 * MIB,
        "STM32H743xI datasheet DS12110, Memories; reference manual RM0433",
    ),
    Board(
        "stm32f7",
        "STM32F746xG: DTCM, SRAM1 and SRAM2 without a gap",
        320 * KIB,
        1 * MIB,
        "STM32F746xx datasheet DS10916, Embedded SRAM; reference manual RM0385",
    ),
    Board(
        "nrf52840",
        "nRF52840, as on Arduino Nano 33 BLE Sense",
        256 * KIB,
        1 * MIB,
        "nRF52840 product specification, Memory",
    ),
    Board(
        "imxrt1062",
        "Teensy 4.1: i.MX RT1062, 512 of the 1,024 KB RAM (OCRAM) are one block",
        512 * KIB,
        8 * MIB,
        "i.MX RT1060 reference manual, On-Chip RAM; PJRC's page of Teensy 4.1",
    ),
)

BOARDS = {board.chip: board for board in _BOARDS}


def judge(board: Board | None, arena: int, file: int) -> tuple[Diagnostic, ...]:
    """What does not fit the board, by how many bytes, or leaves it little; sizes in bytes."""
    if board is None:
        return ()
    found = []
    for what, used, memory, limit in (
        ("the arena", arena, "RAM", board.ram),
        ("the file", file, "flash", board.flash),
    ):
        if used > limit:
            words = f"{what} takes {used:,} bytes, {used - limit:,} more than the {limit:,} bytes"
            found.append(Diagnostic(f"{words} of {memory} on {board.chip}", fatal=True))
        elif used > _TIGHT * limit:
            words = f"{what} leaves the firmware {limit - used:,} bytes of {memory}"
            found.append(Diagnostic(f"{words} on {board.chip}"))
    return tuple(found)
