"""The golden inputs, run on the board: whether it answers as the export did, and as PyTorch.

`edgeark verify FOLDER --board board.json` reads what is written here.

SPDX-License-Identifier: Apache-2.0
"""

import hashlib
import os
import platform
import time

import numpy as np

SCHEMA = 1
_CAP_DB = 200.0


def read_pixels(facts, folder):
    """The golden inputs: uint8 ``[N, C, h, w]`` in the network's colours."""
    wanted = facts["input"]
    shape = (facts["golden"]["count"], len(wanted["mean"]), wanted["height"], wanted["width"])
    return np.fromfile(os.path.join(folder, facts["golden"]["pixels"]), np.uint8).reshape(shape)


def check(program, folder):
    """Run them all; the content of board.json."""
    facts = program.facts
    pixels = read_pixels(facts, folder)
    parts, times = [], []
    for planes in pixels:
        x = program.feed(planes)
        start = time.perf_counter()
        outputs = program.runtime(x)
        times.append(1e3 * (time.perf_counter() - start))
        parts.append(program.values(outputs))
    answers = [np.concatenate(values) for values in zip(*parts)]
    against = {}
    for name, files in (
        ("export", facts["golden"]["export"]),
        ("pytorch", facts["golden"]["pytorch"]),
    ):
        if files:
            wanted = [
                np.fromfile(os.path.join(folder, file), np.float32).reshape(answer.shape)
                for file, answer in zip(files, answers)
            ]
            against[name] = compare(wanted, answers)
    # An export that nothing has run has no answers of its own: then PyTorch's must do.
    judged = against.get("export", against["pytorch"])
    allowed = facts["golden"]["tolerance"] * max(1.0, judged["peak"])
    return {
        "schema": SCHEMA,
        "model": facts["model"],
        "target": facts["target"],
        "precision": facts["precision"],
        "files": [
            {"name": entry["name"], "sha256": _digest(os.path.join(folder, entry["name"]))}
            for entry in facts["files"]
        ],
        "golden": {
            "count": len(pixels),
            "sha256": _digest(os.path.join(folder, facts["golden"]["pixels"])),
        },
        "ok": bool(judged["max_abs_error"] <= allowed),
        "allowed": allowed,
        "differences": against,
        "infer_ms": {"median": float(np.median(times)), "least": float(np.min(times))},
        "runtime": program.runtime.versions(),
        "program": "python",
        "machine": describe_machine(),
    }


def compare(wanted, answers):
    """The worst output's difference; the mean over the inputs is no signal."""
    errors, ratios, peaks = [], [], []
    for values, answer in zip(wanted, answers):
        right = values.astype(np.float64)
        error = answer - right
        errors.append(float(np.abs(error).max()))
        peaks.append(float(np.abs(right).max()))
        power = float(np.square(right - right.mean(axis=0)).mean())
        noise = float(np.square(error).mean())
        if noise == 0 or power == 0:
            ratios.append(_CAP_DB if noise == 0 else -_CAP_DB)
        else:
            ratios.append(float(np.clip(10 * np.log10(power / noise), -_CAP_DB, _CAP_DB)))
    finite = all(np.isfinite(answer).all() for answer in answers)
    if not finite:
        return {"max_abs_error": 1e30, "sqnr_db": -_CAP_DB, "peak": max(peaks)}
    return {"max_abs_error": max(errors), "sqnr_db": min(ratios), "peak": max(peaks)}


def describe(report):
    """A few lines."""
    lines = [
        "%s: at most %.3g away, SQNR %.1f dB" % (name, d["max_abs_error"], d["sqnr_db"])
        for name, d in report["differences"].items()
    ]
    lines.append("one inference: %.2f ms (median)" % report["infer_ms"]["median"])
    lines.append("ok" if report["ok"] else "FAILED: more than %.3g away" % report["allowed"])
    return "\n".join(lines)


def describe_machine():
    """What it is: board, processor, system."""
    found = {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
    }
    try:
        with open("/proc/device-tree/model", encoding="utf-8") as file:
            found["board"] = file.read().strip("\0\n")
    except OSError:
        pass
    return found


def _digest(path):
    digest = hashlib.sha256()
    if os.path.isdir(path):
        return ""
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
