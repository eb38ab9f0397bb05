"""Bundles of many networks for many boards: ``python benchmarks/bundles.py [NETWORK ...]``.

For each network and target ``edgeark bundle NETWORK --to TARGET --out FOLDER`` is called, in a
process of its own. Where the bundle's Python program runs on this machine it runs the golden
inputs, ``--golden``, in the environment of its runtime, and ``edgeark verify FOLDER --board
board.json`` judges what it wrote; of the others ``edgeark verify FOLDER`` runs the network in the
target's simulator. A network is a model of the zoo, or ``SCRIPT.py:WEIGHTS:DATA`` for the
``bundle.py`` of a project that ``edgeark new`` has made. Prints a Markdown table, and after it why
what failed has failed; the exit status is 1 where something has. ``--file`` keeps what was found,
and leaves out what is there: an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgeark.export.targets import find_target

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # that run bundles likewise
from support.programs import run_program

MODELS = ("mnist", "vgg_kpu", "mobilenet_v1_050", "unet_8", "unet_16", "yolov5n", "yolov5n_relu")
TARGETS = (
    *("onnxruntime", "opencv", "openvino", "mnn", "ncnn", "litert", "executorch"),
    *("rknn:rk3588", "k210"),
)


@dataclass(frozen=True)
class Outcome:
    """What became of a network on a target; ``words`` say why it failed."""

    cell: str
    words: str = ""


def bundle(network: str, target: str, folder: Path, options: Sequence[str]) -> Outcome:
    """Write the bundle, run its program and verify what that says."""
    command = [sys.executable, "-m", "edgeark", "bundle", network]
    if ":" in network:
        script, weights, data = network.split(":")
        command = [sys.executable, script, "--weights", weights, "--data", data]
    made = call([*command, "--to", target, "--out", str(folder), *options])
    if made.returncode:
        return Outcome("no bundle", last_line(made.stderr))
    board = ()
    if (folder / "python" / "run.py").exists():
        report = folder / "board.json"
        ran = run_program(folder, find_target(target), "--golden", report)
        if ran.status:
            return Outcome("the program fails", last_line(ran.err or ran.out))
        board = ("--board", str(report))
    verify = [sys.executable, "-m", "edgeark", "verify", str(folder), *board, "--json"]
    verified = call(verify)
    if verified.returncode == 2:
        return Outcome("not verified", last_line(verified.stderr))
    (row,) = json.loads(verified.stdout)
    if verified.returncode:
        return Outcome("not verified", row["message"])
    away = f"{row['precision']}, {row['sqnr_db']:.0f} dB"
    return Outcome(f"{away}, {'program' if board else 'simulator'}")


def call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "no words"


def title(network: str) -> str:
    """A project's is its folder's name."""
    script, is_project, _ = network.partition(":")
    return f"`{Path(script).resolve().parent.name if is_project else network}`"


def table(found: dict[str, dict[str, Outcome]], targets: Sequence[str]) -> Iterator[str]:
    yield f"| target | {' | '.join(map(title, found))} |"
    yield "|---|" + "---|" * len(found)
    for target in targets:
        cells = [outcomes[target].cell for outcomes in found.values()]
        yield f"| `{target}` | {' | '.join(cells)} |"
    yield ""
    for network, outcomes in found.items():
        for target, outcome in outcomes.items():
            if outcome.words:
                yield f"- {title(network)} to {target}: {outcome.words}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=MODELS)
    parser.add_argument("--to", default=",".join(TARGETS), help="targets, comma-separated")
    parser.add_argument("--limit", default="20", help="test images of each export")
    parser.add_argument("--file", type=Path, help="JSON, to go on with")
    parser.add_argument("--int8", action="store_true", help="in int8, where the target has it")
    parser.add_argument("--rewrite", action="store_true", help="networks first, for their target")
    chosen = parser.parse_args()
    targets = chosen.to.split(",")
    options = ["--limit", chosen.limit]
    options += [f"--{name}" for name in ("int8", "rewrite") if getattr(chosen, name)]
    found: dict[str, dict[str, Outcome]] = {name: {} for name in chosen.networks}
    known = json.loads(chosen.file.read_text()) if chosen.file and chosen.file.exists() else {}
    with tempfile.TemporaryDirectory(prefix="edgeark-bundles-") as folder:
        for index, network in enumerate(chosen.networks):
            for target in targets:
                out = Path(folder, str(index), target.replace(":", "-"))
                kept = known.setdefault(network, {})
                if target not in kept:
                    kept[target] = asdict(bundle(network, target, out, options))
                    if chosen.file:
                        chosen.file.write_text(json.dumps(known, indent=1) + "\n")
                outcome = found[network][target] = Outcome(**kept[target])
                sys.stderr.write(f"{network} to {target}: {outcome.cell} {outcome.words}\n")
    sys.stdout.write("\n".join([*table(found, targets), ""]))
    return 1 if any(each.words for outcomes in found.values() for each in outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
