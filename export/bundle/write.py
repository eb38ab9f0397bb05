"""Write the folder that is copied to a board: the network, its facts, programs, golden vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.messages import suggest
from ..results.folder import staged_folder
from ..results.manifest import Manifest
from ..targets import every_target, find_target
from ..targets.base import Precision, Target
from ..targets.board import LANGUAGES, BoardRuntime, Bundle, Language
from ..targets.templates import open_templates
from ..verify import REPEAT_TOLERANCE, Golden, Reopened, reopen
from .cpp_program import write_cpp, write_kotlin
from .facts import BundleError, Facts, GoldenFacts, facts_of
from .nn_archive import ARCHIVE, NO_ARCHIVE, write_nn_archive
from .verifiable import make_verifiable
from .web_page import write_page

HERE = Path(__file__).resolve().parent
FACTS, README = "model.json", "README.md"
_TASK_FILES = {
    "python": "python/task.py",
    "cpp": "cpp/task.cpp",
    "kotlin": "cpp/task.cpp",
    "web": "web/task.mjs",
}
_PYTHON = ("run.py", "golden.py", "images.py", "png.py")


def write_bundle(
    export: Path, out: Path, languages: Sequence[str] = (), *, nn_archive: bool = False
) -> Bundle:
    """Write what a board needs to run an export.

    Args:
        export: the folder of an export, or a file in it.
        out: the bundle's folder; it must not exist, or be empty.
        languages: of the programs, each of ``LANGUAGES``; none: the target's first.
        nn_archive: with a Luxonis NN Archive, see :mod:`.nn_archive`.

    Raises:
        ManifestError: there is no export.
        BundleError: no program for that target, task or language; ``out`` is in use.
    """
    out = require_new_folder(out)
    found = reopen(export)
    require_program(found.target, languages, nn_archive=nn_archive)
    own = found.target.write_bundle(export, out)
    if own is not None:
        return own
    board, wanted = _program_of(found.target, languages)
    if changed := found.changed_files():
        raise BundleError(f"not the files that the manifest describes: {', '.join(changed)}")
    vectors = found.golden()
    if vectors.images.dtype.names is not None:
        raise BundleError(f"{found.manifest.model} takes tensors: a board program feeds images")
    with staged_folder(out) as folder:
        golden = _write_golden(folder, vectors, found.manifest.precision)
        facts = facts_of(found.manifest, board, golden, found.target.chip)
        text = json.dumps(facts.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (folder / FACTS).write_text(text + "\n", encoding="utf-8")
        _copy_network(found, board, folder)
        if "python" in wanted:
            _write_python(folder / "python", facts, board)
        if {"cpp", "kotlin"} & {*wanted}:
            write_cpp(folder / "cpp", facts, board)
        if "kotlin" in wanted:
            write_kotlin(folder / "android")
        if "web" in wanted:
            write_page(folder, facts, board)
        _write_readme(folder, facts, board, wanted, found.manifest, nn_archive)
        make_verifiable(folder, found)
        if nn_archive:
            write_nn_archive(folder, found)
        files = sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        )
    return Bundle(out, tuple(files), {"model": facts.model, "target": facts.target})


def require_new_folder(out: Path) -> Path:
    """The folder, absolute.

    Raises:
        BundleError: there is something in it already.
    """
    out = out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BundleError(f"{out} is there already: name a new folder, or empty it")
    return out


def require_program(target: Target, languages: Sequence[str], *, nn_archive: bool = False) -> None:
    """Whether there is a program for a target: known before anything is exported.

    Raises:
        BundleError: there is none, or none in one of the languages, or no NN Archive.
    """
    if nn_archive and target.board is None:
        raise BundleError(NO_ARCHIVE)
    if type(target).write_bundle is Target.write_bundle:
        _program_of(target, languages)
    elif languages:
        raise BundleError(f"{target.full_name} has a program of its own kind: leave out --lang")


def _has_program(target: Target) -> bool:
    return target.board is not None or type(target).write_bundle is not Target.write_bundle


def _program_of(
    target: Target, languages: Sequence[str]
) -> tuple[BoardRuntime, tuple[Language, ...]]:
    board = target.board
    if board is None:
        able = dict.fromkeys(t.name for t in every_target() if _has_program(t))
        raise BundleError(
            f"no board program for {target.full_name}; there are ones for {', '.join(able)}"
        )
    known = board.languages
    for language in languages:
        if language not in LANGUAGES:
            hint = suggest(language, LANGUAGES, f"there are {', '.join(LANGUAGES)}")
            raise BundleError(f"no language {language!r}; {hint}")
        if language not in known:
            raise BundleError(
                f"no {language} program for {target.full_name}; there is {', '.join(known)}"
            )
    return board, tuple(each for each in known if each in languages) or known[:1]


def _write_golden(folder: Path, vectors: Golden, precision: Precision) -> GoldenFacts:
    """The golden vectors as raw files, little-endian and without a header."""
    (folder / "golden").mkdir()

    def write(name: str, array: np.ndarray) -> str:
        np.ascontiguousarray(array).tofile(folder / "golden" / name)
        return f"golden/{name}"

    kinds = {"export": vectors.answers, "pytorch": vectors.reference}
    files = {
        kind: tuple(
            write(f"{kind}{index}.bin", array.astype("<f4")) for index, array in enumerate(arrays)
        )
        for kind, arrays in kinds.items()
    }
    return GoldenFacts(
        count=len(vectors.images),
        pixels=write("pixels.bin", vectors.images),
        tolerance=REPEAT_TOLERANCE[precision],
        **files,
    )


def _copy_network(found: Reopened, board: BoardRuntime, folder: Path) -> None:
    names = [file.name for file in found.manifest.files]
    if board.takes_sources:
        names += found.manifest.sources
    for name in names:
        if not found.has(name):  # sources have no digest
            raise BundleError(f"{name} is missing in {found.folder}, or a link to another place")
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found.folder / name, folder / name)


def _write_python(folder: Path, facts: Facts, board: BoardRuntime) -> None:
    folder.mkdir()
    for name in _PYTHON:
        shutil.copyfile(HERE / "python" / name, folder / name)
    shutil.copyfile(HERE / "python" / f"{facts.task}.py", folder / "task.py")
    shutil.copyfile(board.home / LANGUAGES["python"], folder / "runtime.py")


def _write_readme(
    folder: Path,
    facts: Facts,
    board: BoardRuntime,
    languages: Sequence[Language],
    manifest: Manifest,
    nn_archive: bool,
) -> None:
    target = find_target(manifest.target)
    values: dict[str, object] = {
        "facts": facts,
        "manifest": manifest,
        "languages": languages,
        "nn_archive": ARCHIVE if nn_archive else "",
        "task_file": _TASK_FILES[languages[0]],
        "versions": target.versions(),
        "chip": target.chip,
        "sources": manifest.sources if board.takes_sources else (),
    }
    of_runtime = {
        "python": ("board", "board.md.jinja"),
        "cpp": ("build", "build.md.jinja"),
        "kotlin": ("android", "android.md.jinja"),
        "web": ("page", "page.md.jinja"),
    }
    for language in languages:
        name, template = of_runtime[language]
        values[name] = open_templates(board.home).get_template(template).render(values).strip()
    text = open_templates(HERE).get_template("README.md.jinja").render(values)
    (folder / README).write_text(text, encoding="utf-8")
