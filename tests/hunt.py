"""Hunt for networks that an engine computes wrongly or refuses, and `edgeark check` lets pass.

    python tests/hunt.py --to mnn --minutes 20 --seed 0
    python tests/hunt.py --to k210 --precision int8 --out hunts/k210.jsonl

Networks come from :mod:`support.hunt_grammar`, eight to a file with an output each; one that a rule
refuses is left out, or with ``--refused`` tried as well: what is right then is a false alarm. What
fails is tried alone, and shrunk. Each batch runs in a fork of this process, so that a dying engine
ends one batch. The log has a line a batch; with the same one, a hunt goes on where it was stopped.
Minutes are of CPU time, those of the engines' processes included.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from edgeark.errors import EdgearkError
from edgeark.export.graph.files import Graph
from edgeark.export.lint import capture_network, check
from edgeark.export.results.compare import compare
from edgeark.export.targets import find_target
from edgeark.export.targets.base import Conversion, Precision, Target
from support.hunt_grammar import SIZES, Drawing, Drawn, draw, smaller
from support.settled import SPEC, make_images
from support.tries import Networks

BATCH = 8
LIMIT_S = 900  # of a batch, with its bisections
ENOUGH_DB: dict[str, float] = {"float32": 60, "float16": 25, "int8": 4}
SHRINKS = 8  # of a finding at most


def main() -> int:
    options = _parse()
    target = find_target(options.to)
    precision: Precision = options.precision or target.supported_precisions()[0]
    log = options.out or Path(f"hunt-{options.to.replace(':', '-')}-{precision}.jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    done = _read(log, options.seed)
    ends = _cpu_s() + 60 * options.minutes
    index = len(done)
    while _cpu_s() < ends:
        line = _in_a_fork(target, precision, options.seed, index, options.refused)
        done.append(line)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        for finding in line["findings"]:
            print(f"batch {index}: {finding['what']}\n    {finding['network']}", flush=True)
        index += 1
    _summarize(target, precision, options.seed, done)
    return 1 if any(line["findings"] for line in done) else 0


def _cpu_s() -> float:
    """CPU seconds of this process and of those that ended: the same on a busy machine."""
    return sum(os.times()[:4])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--to", required=True, help="a target, as rknn:rk3588")
    parser.add_argument("--precision", choices=list(ENOUGH_DB), help="default: the target's first")
    parser.add_argument("--minutes", type=float, default=20, help="of CPU time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the log, as JSON lines")
    parser.add_argument("--refused", action="store_true", help="look for false alarms instead")
    return parser.parse_args()


def _read(log: Path, seed: int) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line for line in lines if line["seed"] == seed]


def _summarize(target: Target, precision: str, seed: int, done: Sequence[dict[str, Any]]) -> None:
    drawn, refused = (sum(line[name] for line in done) for name in ("drawn", "refused"))
    keys = {finding["key"] for line in done for finding in line["findings"]}
    print(
        f"{target.full_name} {precision}, seed {seed}: {drawn} networks in {len(done)} batches, "
        f"{refused} refused by rules; {len(keys)} kinds of findings"
    )


def _in_a_fork(
    target: Target, precision: Precision, seed: int, index: int, wants_refused: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        child = os.fork()
        if child == 0:
            os.setsid()
            signal.alarm(LIMIT_S)
            said = _Batch(target, precision, folder).hunt(seed, index, wants_refused)
            (folder / "said.json").write_text(json.dumps(said))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not code:
            return json.loads((folder / "said.json").read_text())
    died = {"what": f"the batch ended with {code}", "network": f"batch {index}", "key": "died"}
    return {"seed": seed, "batch": index, "drawn": BATCH, "refused": 0, "findings": [died]}


class _Batch:
    """Networks of one input size."""

    def __init__(self, target: Target, precision: Precision, folder: Path) -> None:
        self._target, self._precision, self._folder = target, precision, folder
        self._tried = 0

    def hunt(self, seed: int, index: int, wants_refused: bool) -> dict[str, Any]:
        rng = random.Random(f"{seed} {index}")
        torch.manual_seed(index)
        size = rng.choice(SIZES)
        self._spec = replace(SPEC, input_size=size)
        drawings = [draw(rng, size) for _ in range(BATCH)]
        allowed = [drawing for drawing in drawings if not self._errors(drawing)]
        counts = {"drawn": BATCH, "refused": BATCH - len(allowed)}
        if wants_refused:
            refused = [drawing for drawing in drawings if drawing not in allowed]
            seen = [(d, "right, but refused") for d in refused if not self._fails(d)]
        else:
            seen = [self._shrink(*finding) for finding in self._find(allowed)]
        findings = [
            {"what": what, "network": f"{drawing}  of {size}", "key": drawing.key}
            for drawing, what in seen
        ]
        return {"seed": seed, "batch": index, **counts, "findings": findings}

    def _errors(self, drawing: Drawing) -> list[str]:
        network = capture_network(Drawn(drawing), self._spec.input_shape)
        rules = [rule for rule in self._target.rules() if rule.holds_in(self._precision)]
        found = check(network, rules, self._target.full_name)
        return [finding.rule for finding in found if finding.severity == "error"]

    def _find(self, drawings: Sequence[Drawing]) -> list[tuple[Drawing, str]]:
        """Those that fail, each with what happens."""
        if not drawings:
            return []
        try:
            decibels = self._run(drawings)
        except EdgearkError as error:
            if len(drawings) == 1:
                return [(drawings[0], f"refused: {self._last_words(error)}")]
            middle = len(drawings) // 2
            return self._find(drawings[:middle]) + self._find(drawings[middle:])
        least = ENOUGH_DB[self._precision]
        wrong = [(d, db) for d, db in zip(drawings, decibels, strict=True) if db < least]
        if len(drawings) == 1:
            return [(drawing, f"wrong: {db:.1f} dB") for drawing, db in wrong]
        return [finding for drawing, _ in wrong for finding in self._find([drawing])]

    def _last_words(self, error: EdgearkError) -> str:
        log = self._folder / str(self._tried) / "log.txt"
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        said = [line.strip() for line in lines if "rror" in line]
        return f"{str(error).split('; log:')[0]} | {said[-1][:200] if said else ''}"

    def _fails(self, drawing: Drawing) -> str:
        found = self._find([drawing])
        return found[0][1] if found else ""

    def _shrink(self, drawing: Drawing, what: str) -> tuple[Drawing, str]:
        for _ in range(SHRINKS):
            for candidate in smaller(drawing, self._spec.input_size):
                if not self._errors(candidate) and (still := self._fails(candidate)):
                    drawing, what = candidate, still
                    break
            else:
                break
        return drawing, what

    def _run(self, drawings: Sequence[Drawing]) -> list[float]:
        """SQNR of each network's answer in dB."""
        self._tried += 1
        out = self._folder / str(self._tried)
        out.mkdir()
        graph = Graph(Networks([Drawn(drawing) for drawing in drawings]), self._spec, out)
        shape = self._spec.input_shape[1:]
        calibration = make_images(16, shape, seed=1) if self._precision == "int8" else None
        job = Conversion(graph, self._precision, out, out / "log.txt", calibration)
        artifact = self._target.convert(job)
        images = make_images(4, shape, seed=0)
        result = self._target.run(artifact, images, out / "log.txt")
        assert result is not None, f"nothing here runs {self._target.full_name}"
        pairs = zip(graph.reference(images, batch=1), result.outputs, strict=True)
        return [compare([wanted], [got]).sqnr_db for wanted, got in pairs]


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    sys.exit(main())
