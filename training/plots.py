"""Pictures of a training, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure


def save_curves(history: Sequence[dict[str, float]], metric: str, path: Path) -> None:
    """Loss and validation metric over the epochs, side by side."""
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, key, title in zip(
        axes, ("loss", metric), ("training loss", f"validation {metric}"), strict=True
    ):
        axis.plot(epochs, [row[key] for row in history], marker=".", color="tab:blue")
        axis.set(title=title, xlabel="epoch")
        axis.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=110)
