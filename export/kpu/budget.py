"""Whether a kmodel fits a K210, what it costs layer by layer, and how long it should take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...core.messages import format_shape
from .describe import LayerCost, describe
from .format import Kmodel
from .layer import KPU_ROWS, MAIN_BYTES, MAIXPY_BYTES, ROW_BYTES, KpuTensor
from .timing import input_ms

_CAMERA = (240, 320)  # height, width


@dataclass(frozen=True)
class Budget:
    """What a kmodel takes.

    Args:
        layers: one row each.
        names: of the layers.
        input_shape: of an image.
        file_bytes, working_bytes: in main memory, the kmodel and what it works on.
        kpu_bytes: the end of the highest row of KPU RAM that any layer reads or writes.
        input_ms: estimated, until an image is in KPU RAM.
    """

    layers: tuple[LayerCost, ...]
    names: tuple[str, ...]
    input_shape: tuple[int, ...]
    file_bytes: int
    working_bytes: int
    kpu_bytes: int
    input_ms: float

    @property
    def main_bytes(self) -> int:
        """Of main memory: the file, what it works on, and the image."""
        return self.file_bytes + self.working_bytes + prod(self.input_shape)

    @property
    def estimated_ms(self) -> float:
        """An image's, without camera and decoding (``timing.py``)."""
        return self.input_ms + sum(layer.ms for layer in self.layers)

    @property
    def memory(self) -> dict[str, dict[str, int]]:
        """Bytes by kind of memory: ``used``, and the ``limit``."""
        model = self.file_bytes + self.working_bytes
        return {
            "KPU memory": {"used": self.kpu_bytes, "limit": KPU_ROWS * ROW_BYTES},
            "main memory": {"used": self.main_bytes, "limit": MAIN_BYTES},
            "main memory that MaixPy leaves": {"used": model, "limit": MAIXPY_BYTES},
        }

    def problems(self) -> list[str]:
        """What does not fit, in words. (The compiler refuses what the KPU cannot do.)"""
        found = [
            f"{name}: {_mib(have['used'])} MiB of {_mib(have['limit'])}"
            for name, have in self.memory.items()
            if have["used"] > have["limit"]
        ]
        if any(a > b for a, b in zip(self.input_shape[1:], _CAMERA, strict=False)):
            found.append(
                f"input: {format_shape(self.input_shape)}, the camera's images are 240x320"
            )
        return found


def budget(kmodel: Kmodel, file_bytes: int, names: Sequence[str] = ()) -> Budget:
    """What a kmodel takes; ``names`` are those of its layers' nodes, where they are known."""
    costs = tuple(describe(kmodel))
    tensors = [t for layer in kmodel.layers for t in (*layer.reads(), *layer.writes())]
    return Budget(
        layers=costs,
        names=tuple(names) or tuple(f"layer {cost.index}" for cost in costs),
        input_shape=kmodel.input.shape,
        file_bytes=file_bytes,
        working_bytes=kmodel.main_bytes,
        kpu_bytes=ROW_BYTES * max((t.end for t in tensors if isinstance(t, KpuTensor)), default=0),
        input_ms=input_ms(kmodel.input),
    )


def budget_markdown(title: str, found: Budget) -> str:
    """A page for people: what there is and what is taken, then every layer."""
    on_kpu = [c for c in found.layers if c.place == "KPU"]
    sides = [min(c.input_shape[1:]) for c in on_kpu]
    channels = [shape[0] for c in on_kpu for shape in (c.input_shape, c.output_shape)]
    total = sum(c.macs for c in found.layers)
    rows: list[tuple[str, str, str]] = [
        (name, f"{_mib(have['used'])} MiB", f"{_mib(have['limit'])} MiB")
        for name, have in found.memory.items()
    ]
    rows += [
        ("input", format_shape(found.input_shape), "the camera's 240x320"),
        ("smallest side of a map on the KPU", str(min(sides, default=0)), "4 at least"),
        ("most channels on the KPU", str(max(channels, default=0)), "1024 at most"),
        ("multiplications on the KPU", _share(sum(c.macs for c in on_kpu), total), ""),
        ("time of an image, estimated", f"{found.estimated_ms:.1f} ms", ""),
    ]
    problems = found.problems()
    lines = [
        f"# {title} on a K210",
        "",
        "Does not fit: " + "; ".join(problems) + "." if problems else "It fits.",
        "",
        *_table(("what", "taken", "there is"), rows),
        "",
        "Times are estimated by the formula in `export/kpu/timing.py`; no board confirmed them.",
        "MaixPy's share of main memory is Sipeed's figure and moves with the firmware's build.",
        "",
        *_table(
            ("layer", "kind", "on", "input", "output", "MACs", "KPU KiB", "main KiB", "ms"),
            [_layer_row(*pair) for pair in zip(found.names, found.layers, strict=True)],
        ),
    ]
    return "\n".join(lines) + "\n"


def _layer_row(name: str, cost: LayerCost) -> tuple[str, ...]:
    return (
        name,
        cost.kind,
        cost.place,
        format_shape(cost.input_shape),
        format_shape(cost.output_shape),
        f"{cost.macs:,}",
        f"{cost.kpu_bytes / 1024:.0f}",
        f"{cost.main_bytes / 1024:.0f}",
        f"{cost.ms:.2f}",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = (head, ["---"] * len(head), *rows)
    return ["| " + " | ".join(cells) + " |" for cells in lines]


def _mib(size: int) -> str:
    return f"{size / 2**20:.2f}"


def _share(part: int, total: int) -> str:
    return f"{100 * part / total:.1f} %" if total else "-"
