"""Bad inputs, kills and full disks: ``python benchmarks/faults.py --minutes M --seed S``.

Good inputs of every kind are spoilt at random and given to the commands that read them, each in a
process of its own. An input passes if the command ends by itself, within its time and 4 GB, says no
traceback, and touches no file beside its own output. A quarter of the time goes to commands that
are killed at random moments and done again. Prints a table; status 1: something failed.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults_commands import COMMANDS
from faults_inputs import INPUTS, Good, make_good
from faults_kills import kill
from faults_process import MOST_KB, End, call_forked, import_all, run_forked

KINDS = {each.__name__: each for each in (*INPUTS, *COMMANDS)}
COLUMNS = [
    "inputs",
    "ok",
    "failed",
    "refused",
    "faults",
    "tracebacks",
    "hangs",
    "over_4_GB",
    "touched",
]


@dataclass
class Counts:
    """Of one kind of input; ``faults`` are errors that nobody foresaw, in one line each."""

    numbers: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0


def snapshot(folder: Path) -> str:
    """What lies in a folder, by name and content."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(f"{path.relative_to(folder)} {path.is_symlink()}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def judge(counts: Counts, end: End, touched: bool) -> list[str]:
    """Count an end; what is wrong with it."""
    outcome = {0: "ok", 1: "failed", 2: "refused"}.get(end.status, "faults")
    wrong = []
    if "Traceback (most recent call last)" in end.words:
        wrong.append("tracebacks")
    if end.was_ended:
        wrong.append("hangs")
    if end.kilobytes > MOST_KB:
        wrong.append("over_4_GB")
    if touched:
        wrong.append("touched")
    if outcome != "faults" and "a fault of edgeark's" in end.words:
        wrong.append("faults")
    if outcome == "faults" and not end.was_ended:
        wrong.append("faults")
    counts.numbers.update(["inputs", *wrong, *([outcome] if outcome != "faults" else [])])
    return wrong


def spoil(good: Good, root: Path, seconds: float, rng: random.Random) -> dict[str, Counts]:
    """Bad inputs for that long, every kind in turn."""
    table: dict[str, Counts] = {kind: Counts() for kind in KINDS}
    outside = root / "outside"
    outside.mkdir()
    for name in ("victim", "victim-onnxruntime-float32.log", "victim.txt"):
        (outside / name).write_text("precious\n" * 50)
    end = time.monotonic() + seconds
    for number, kind in enumerate(_forever(list(KINDS))):
        if time.monotonic() > end:
            return table
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=root) as place:
            folder = Path(place)
            seed = rng.getrandbits(32)
            arguments = KINDS[kind](good, folder, outside, random.Random(seed))
            before = snapshot(outside)
            disk = rng.choice([4096, 100_000]) if rng.random() < 0.05 else None
            ended = run_forked(arguments, folder, disk_bytes=disk)
            wrong = judge(table[kind], ended, snapshot(outside) != before)
            if wrong:
                last = (ended.words.strip().splitlines() or ["(nothing)"])[-1][:300]
                _say(f"{number} {kind} {seed} {', '.join(wrong)}, status {ended.status}: {last}")
                _say(f"    edgeark {' '.join(arguments)}")
        table[kind].seconds += time.monotonic() - start
    return table


def _forever(kinds: list[str]) -> Iterator[str]:
    while True:
        yield from kinds


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["inputs", "kills"], help="default: both")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        root = Path(place)
        (root / "tmp").mkdir()
        os.environ |= {"TMPDIR": str(root / "tmp"), "EDGEARK_OFFLINE": "1"}
        tempfile.tempdir = None
        import_all()
        call_forked(lambda: make_good(root / "good"))
        good = Good(root / "good")
        shares = {"inputs": (1, 0), "kills": (0, 1)}.get(options.only, (0.75, 0.25))
        of_inputs, of_kills = (60 * options.minutes * share for share in shares)
        table = spoil(good, root, of_inputs, rng)
        kills, lost = kill(good, root, of_kills, rng)
    rows = {
        **table,
        "all": Counts(sum((each.numbers for each in table.values()), collections.Counter())),
    }
    lines = [f"| kind | {' | '.join(COLUMNS)} |", f"|---|{'--:|' * len(COLUMNS)}"]
    for kind, counts in rows.items():
        lines.append(f"| {kind} | {' | '.join(str(counts.numbers[c]) for c in COLUMNS)} |")
    sys.stdout.write("\n".join(lines) + f"\n\n{kills} kills, {lost} lost\n")
    wrong = sum(rows["all"].numbers[column] for column in COLUMNS[4:])
    return int(wrong > 0 or lost > 0)


if __name__ == "__main__":
    sys.exit(main())
