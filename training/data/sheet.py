"""A contact sheet: some images of every class with their labels drawn, as PNG or HTML."""

from __future__ import annotations

import base64
import html
from collections import defaultdict
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ...errors import DataError
from ...zoo.tasks.segmentation import IGNORE, class_colors, overlay
from ..checkpoint import atomic_path
from .catalog import Catalog
from .look import Look, Sight
from .pixels import decode_with_header

_TILE, _CAPTION, _COLUMNS = 192, 26, 6
_COUNT = 24
_VOID = (150, 150, 150)


def write_sheet(catalog: Catalog, look: Look, path: Path) -> Path:
    """Write the sheet: ``path`` ends in ``.png`` or ``.html``; else it is a folder for both.

    Raises:
        DataError: there is nothing to show.
    """
    chosen = choose(look.sights)
    if not chosen:
        raise DataError(f"{look.name}: no image to show")
    tiles = [(sight, draw_tile(catalog, sight)) for sight in chosen]
    if path.suffix.lower() not in (".png", ".html", ".htm"):
        write_sheet(catalog, look, path / "sheet.png")
        return write_sheet(catalog, look, path / "sheet.html")
    with atomic_path(path) as partial:
        if path.suffix.lower() == ".png":
            _sheet(catalog, tiles).save(partial, "PNG")
        else:
            partial.write_text(_page(catalog, look, tiles), encoding="utf-8")
    return path


def choose(sights: Sequence[Sight], count: int = _COUNT) -> list[Sight]:
    """Images in turn of every class and part, evenly through each, so that nobody chose them."""
    groups: dict[tuple[int, ...], list[Sight]] = defaultdict(list)
    for sight in sights:
        groups[tuple(sorted(sight.counts))].append(sight)
    share = max(1, count // max(1, len(groups)))
    found = []
    for key in sorted(groups):
        members = groups[key]
        places = np.linspace(0, len(members) - 1, min(share, len(members))).round().astype(int)
        found += [members[place] for place in sorted(set(places.tolist()))]
    return found[:count]


def draw_tile(catalog: Catalog, sight: Sight) -> Image.Image:
    """An image with its boxes or its mask, in a square."""
    pixels, header = decode_with_header(catalog.read(sight.name))
    label = catalog.annotate(sight.name, header)
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    if catalog.task == "segmentation":
        colors = {**class_colors(len(catalog.classes)), IGNORE: _VOID}
        rgb = overlay(rgb, label, colors)
    image = Image.fromarray(rgb)
    scale = _TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(size, Image.Resampling.BILINEAR)
    if catalog.task == "detection":
        pen = ImageDraw.Draw(image)
        colors = class_colors(len(catalog.classes) + 1)
        for *corners, index in label.tolist():
            x1, y1, x2, y2 = (corner * scale for corner in corners)
            if x2 > x1 and y2 > y1:
                pen.rectangle((x1, y1, x2, y2), outline=colors[int(index) + 1], width=2)
    return image


def _caption(catalog: Catalog, sight: Sight) -> str:
    shown = [i for i in sight.counts if i != IGNORE]
    if catalog.task == "segmentation":
        shown = [i for i in shown if i]
        names = [catalog.classes[i if len(catalog.classes) > 1 else 0] for i in shown]
    else:
        names = [catalog.classes[i] for i in shown]
    return f"{sight.split}: {', '.join(names) or 'nothing'}"


def _sheet(catalog: Catalog, tiles: Sequence[tuple[Sight, Image.Image]]) -> Image.Image:
    rows = -(-len(tiles) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _TILE, rows * (_TILE + _CAPTION)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (sight, tile) in enumerate(tiles):
        x, y = place % _COLUMNS * _TILE, place // _COLUMNS * (_TILE + _CAPTION)
        sheet.paste(tile, (x + (_TILE - tile.width) // 2, y + (_TILE - tile.height) // 2))
        text = f"{_caption(catalog, sight)[:30]}\n{sight.name[-30:]}"
        pen.text((x + 3, y + _TILE), text.encode("ascii", "replace").decode(), "black")
    return sheet


def _page(catalog: Catalog, look: Look, tiles: Sequence[tuple[Sight, Image.Image]]) -> str:
    figures = []
    for sight, tile in tiles:
        content = BytesIO()
        tile.save(content, "PNG")
        code = base64.b64encode(content.getvalue()).decode()
        text = (
            f"{html.escape(_caption(catalog, sight))}<br><small>{html.escape(sight.name)}</small>"
        )
        figures.append(
            f'<figure><img src="data:image/png;base64,{code}"><figcaption>{text}</figcaption>'
            "</figure>"
        )
    rows = "".join(
        f"<li><b>{finding.severity}</b> {html.escape(finding.describe())}</li>"
        for finding in look.findings
    )
    return (
        f'<!doctype html><meta charset="utf-8"><title>{html.escape(look.name)}</title>'
        "<style>body{font:14px sans-serif}figure{display:inline-block;margin:4px;width:192px}"
        f"</style><h1>{html.escape(look.name)}</h1><ul>{rows}</ul>{''.join(figures)}\n"
    )
