"""Bad inputs, kills and full disks: ``python benchmarks/faults.py --minutes M --seed S``.

Good inputs of every kind are spoilt at random and given to the commands that read them, each in a
process of its own. An input passes if the command ends by itself, within its time and 4 GB, says no
traceback, and touches no file beside its own output. A quarter of the time goes to exports and
trainings that are killed and done again. Prints a table; ends with status 1 where something failed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from faults_inputs import KINDS, Good, make_good

SECONDS, MOST_KB = 120, 4 * 2**20
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


@dataclass(frozen=True)
class End:
    status: int  # negative: by this signal
    words: str
    kilobytes: int
    hung: bool


def run_forked(arguments: list[str], folder: Path, disk_bytes: int | None) -> End:
    """A command in a child of this process, which has imported everything already."""
    log = folder / "log.txt"
    pid = os.fork()
    if pid == 0:
        _become(arguments, log, folder, disk_bytes)
    end, hung = time.monotonic() + SECONDS, False
    while True:
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            hung = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        time.sleep(0.02)
    words = log.read_text(errors="replace")
    return End(os.waitstatus_to_exitcode(status), words, usage.ru_maxrss, hung)


def _become(arguments: list[str], log: Path, folder: Path, disk_bytes: int | None) -> None:
    os.setsid()
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    if disk_bytes is not None:  # files cannot grow beyond: what a full disk is to one file
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (disk_bytes, disk_bytes))
    status = 70
    try:
        from edgeark.cli import main

        main(arguments)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0
    except BaseException as error:  # noqa: BLE001 (nobody else is told)
        sys.excepthook(type(error), error, error.__traceback__)  # as Python itself would
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


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
    if end.hung:
        wrong.append("hangs")
    if end.kilobytes > MOST_KB:
        wrong.append("over_4_GB")
    if touched:
        wrong.append("touched")
    if outcome != "faults" and "a fault of edgeark's" in end.words:
        wrong.append("faults")
    if outcome == "faults" and not end.hung:
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
    before, end = snapshot(outside), time.monotonic() + seconds
    for number, kind in enumerate(_forever(list(KINDS))):
        if time.monotonic() > end:
            return table
        start = time.monotonic()
        with tempfile.TemporaryDirectory(dir=root) as place:
            folder = Path(place)
            seed = rng.getrandbits(32)
            arguments = KINDS[kind](good, folder, outside, random.Random(seed))
            disk = rng.choice([4096, 100_000]) if rng.random() < 0.05 else None
            ended = run_forked(arguments, folder, disk)
            after = snapshot(outside)
            wrong = judge(table[kind], ended, after != before)
            before = after
            if wrong:
                last = (ended.words.strip().splitlines() or ["(nothing)"])[-1][:300]
                _say(f"{number} {kind} {seed} {', '.join(wrong)}, status {ended.status}: {last}")
                _say(f"    edgeark {' '.join(arguments)}")
        table[kind].seconds += time.monotonic() - start
    return table


def _forever(kinds: list[str]) -> Iterator[str]:
    while True:
        yield from kinds


def kill(good: Good, root: Path, seconds: float, rng: random.Random) -> tuple[int, int]:
    """Exports and trainings killed at a random moment and done again: (kills, lost)."""
    kills = lost = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for command in good.commands(root / "killed"):
            process = subprocess.Popen(
                [sys.executable, "-m", "edgeark", *command],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.1, 12))
            kills += process.poll() is None
            process.send_signal(rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
            process.wait()
        for command in good.commands(root / "killed", again=True):
            done = subprocess.run(
                [sys.executable, "-m", "edgeark", *command],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                lost += 1
                _say(f"after a kill: {' '.join(command)}: {done.stderr.strip()[-300:]}")
        left = [path for path in (root / "killed").rglob(".*.new")]
        if left:
            lost += 1
            _say(f"left behind: {left[0]}")
    return kills, lost


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="faults-") as place:
        root = Path(place)
        (root / "tmp").mkdir()
        os.environ |= {"TMPDIR": str(root / "tmp"), "EDGEARK_OFFLINE": "1"}
        tempfile.tempdir = None
        good = make_good(root / "good")
        seconds = 60 * options.minutes
        table = spoil(good, root, 0.75 * seconds, rng)
        kills, lost = kill(good, root, 0.25 * seconds, rng)
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
