"""What the site needs beside ``docs``: README as its first page, and others that docs link to.

mkdocs takes pages of one folder alone. In the repository the same files are read as they lie, so
links lead out of that folder.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
# Pages by their place in the repository: where the site has them.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/README.md": "benchmarks.md",
}
PAGES |= {f"weights/cards/{p.name}": f"cards/{p.name}" for p in ROOT.glob("weights/cards/*.md")}
PLACES = {place: page for page, place in PAGES.items()}
ROLE = re.compile(r":(?:attr|class|func|meth|mod):(?=<code>)")  # Sphinx's, of docstrings
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are no files of ``docs``."""
    for page, place in PAGES.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / page)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links to where the site has the page; what it does not have is left as words."""
    place = page.file.src_uri
    source = PLACES.get(place, f"docs/{place}")

    def target(link: re.Match[str]) -> str:
        wanted = normpath(join(dirname(source), link[1]))
        there = PAGES.get(wanted) or wanted.removeprefix("docs/")
        return relpath(there, dirname(place) or ".")

    return LINK.sub(target, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Leave out the roles that Sphinx knows; the names behind them are code anyway."""
    return ROLE.sub("", html)
