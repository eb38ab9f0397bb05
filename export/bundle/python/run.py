#!/usr/bin/env python3
"""Run the network of this folder on images, folders of images, a video or a camera.

All that is to be known of the network is in model.json. Needs NumPy and the network's runtime;
Pillow or OpenCV reads JPEG files and writes text into images, OpenCV reads videos and cameras.

Exit status: 0 done, 1 a check failed, 2 bad usage, bad input or no runtime.

SPDX-License-Identifier: Apache-2.0
"""

import argparse
import json
import os
import sys
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import golden
import images
import task
from runtime import Runtime

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")
PARTS = ("capture", "prepare", "infer", "read")


class Failure(Exception):
    """What the user can do something about: one line."""


class Program:
    """The network with all that is before and behind it."""

    def __init__(self, facts, folder, options):
        self.facts, self.options = facts, options
        try:
            self.runtime = Runtime(facts, folder, options)
        except ImportError as error:
            raise Failure("the runtime is missing (%s): see README.md" % error) from None

    def __call__(self, image):
        """The answer for uint8 ``[h, w]`` or ``[h, w, 3]`` (rgb), and milliseconds by part."""
        start = time.perf_counter()
        pixels, place = images.prepare(image, self.facts)
        x = self.feed(pixels)
        ready = time.perf_counter()
        outputs = self.runtime(x)
        done = time.perf_counter()
        values = self.values(outputs)
        if not all(np.isfinite(each).all() for each in values):
            raise Failure("the runtime's answer holds infinite or undefined values")
        answer = task.read(values, place, self.facts, self.options)
        times = ready - start, done - ready, time.perf_counter() - done
        return answer, dict(zip(PARTS[1:], (1e3 * seconds for seconds in times)))

    def feed(self, pixels):
        """uint8 ``[C, h, w]`` as the runtime wants it: normalised, quantised, turned."""
        wanted = self.facts["input"]
        x = pixels[None]
        if wanted["normalized_by"] == "program":
            mean, std = (np.float32(wanted[key]).reshape(1, -1, 1, 1) for key in ("mean", "std"))
            x = (x - mean) / std
        if wanted["scale"]:
            limits = np.iinfo(wanted["type"])
            x = np.round(x / wanted["scale"]) + wanted["zero_point"]
            x = np.clip(x, limits.min, limits.max)
        if wanted["layout"] == "NHWC":
            x = x.transpose(0, 2, 3, 1)
        return np.ascontiguousarray(x, dtype=wanted["type"])

    def values(self, outputs):
        """The runtime's outputs as float32, maps as ``[1, C, h, w]``."""
        found = []
        for output, wanted in zip(outputs, self.facts["outputs"]):
            values = np.asarray(output, dtype=np.float32).reshape(wanted["shape"])
            if np.asarray(output).dtype.kind in "iu":
                values = (values - wanted["zero_point"]) * np.float32(wanted["scale"])
            if wanted["layout"] == "NHWC" and values.ndim == 4:
                values = values.transpose(0, 3, 1, 2)
            found.append(values)
        return found


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("sources", nargs="*", metavar="SOURCE", help="image, folder, video or camera:0")
    add("--out", metavar="PATH", help="draw into a file (of one image or a video) or a folder")
    add("--json", action="store_true", help="a JSON document a line")
    add("--show", action="store_true", help="a window (OpenCV with a display; q ends it)")
    add("--score", type=float, metavar="T", help="only scores above it")
    add("--iou", type=float, metavar="T", help="boxes of a class that overlap more are one object")
    add("--top", type=int, default=5, metavar="K", help="so many classes")
    add("--threads", type=int, default=0, metavar="N", help="of the runtime; 0: its own choice")
    add("--limit", type=int, default=0, metavar="N", help="at most so many frames; 0: all")
    add("--benchmark", type=int, metavar="N", help="N runs on the first image, and medians")
    add(
        "--golden",
        nargs="?",
        const="board.json",
        metavar="FILE",
        help="run the golden inputs, compare, and write FILE (board.json)",
    )
    if hasattr(Runtime, "add_options"):
        Runtime.add_options(add)
    options = parser.parse_args()
    if not (options.sources or options.golden or options.benchmark):
        parser.error("name an image, a folder, a video or camera:0; or --golden, or --benchmark N")
    if not all(0 < t < 1 for t in (options.score, options.iou) if t is not None):
        parser.error("--score and --iou are inside 0..1")
    if options.top < 1 or (options.benchmark is not None and options.benchmark < 1):
        parser.error("--top and --benchmark are at least 1")
    return options


def find_folder():
    """Where model.json is: beside this file, or above it."""
    for folder in (HERE, os.path.dirname(HERE)):
        if os.path.exists(os.path.join(folder, "model.json")):
            return folder
    raise Failure("no model.json beside %s: copy the whole folder" % HERE)


def read_facts(folder):
    path = os.path.join(folder, "model.json")
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
    except (OSError, ValueError) as error:
        raise Failure("cannot read %s: %s" % (path, error)) from None
    for entry in facts["files"]:
        if not os.path.exists(os.path.join(folder, entry["name"])):
            raise Failure("%s is missing: copy the whole folder" % entry["name"])
    return facts


def frames(source, limit):
    """Pairs of a name and an image, and whether they are those of a video."""
    if source.startswith("camera:") or source.lower().endswith(VIDEO_SUFFIXES):
        return _video(source, limit), True
    if os.path.isdir(source):
        names = sorted(n for n in os.listdir(source) if n.lower().endswith(images.IMAGE_SUFFIXES))
        if not names:
            raise Failure("no image in the folder %s" % source)
        names = names[:limit] if limit else names
        return ((n, _read(os.path.join(source, n))) for n in names), False
    return ((os.path.basename(s), _read(s)) for s in [source]), False


def _read(path):
    try:
        return images.read_image(path)
    except (OSError, ValueError) as error:
        raise Failure("cannot read the image %s: %s" % (path, error)) from None


def _video(source, limit):
    if images.cv2 is None:
        raise Failure("videos and cameras need OpenCV: pip install opencv-python-headless")
    number = source[len("camera:") :] if source.startswith("camera:") else None
    if number is not None and not number.isdigit():
        raise Failure("%s: a camera is named by its number, camera:0" % source)
    capture = images.cv2.VideoCapture(source if number is None else int(number))
    if not capture.isOpened():
        raise Failure("cannot open %s" % source)
    count = 0
    while not limit or count < limit:
        there, frame = capture.read()
        if not there:
            break
        yield "%s#%d" % (source, count), np.ascontiguousarray(frame[..., ::-1])
        count += 1
    capture.release()
    if not count:
        raise Failure("no frame in %s" % source)


class Sink:
    """Where drawn images go: nowhere, a file, a video, a folder, a window."""

    def __init__(self, options, is_video):
        self.path, self.show, self.is_video = options.out, options.show, is_video
        self.writer = None
        suffix = os.path.splitext(self.path or "")[1].lower()
        self.is_file = suffix in images.IMAGE_SUFFIXES + VIDEO_SUFFIXES
        if self.show and images.cv2 is None:
            raise Failure("--show needs OpenCV: pip install opencv-python")
        if self.is_file and is_video != (suffix in VIDEO_SUFFIXES):
            raise Failure("--out %s: of the same kind as the source, or a folder" % self.path)
        if self.path and not self.is_file:
            os.makedirs(self.path, exist_ok=True)

    def __call__(self, name, image, answer):
        """Draw and write; False: the user has closed the window."""
        if not (self.path or self.show):
            return True
        drawn = task.draw(image, answer)
        if self.path and self.is_video and self.is_file:
            self._write_frame(drawn)
        elif self.path:
            stem = os.path.splitext(os.path.basename(name.replace("#", "-")))[0]
            path = self.path if self.is_file else os.path.join(self.path, stem + ".png")
            try:
                images.write_image(path, drawn)
                task.save_raw(answer, os.path.splitext(path)[0])
            except (OSError, ValueError) as error:
                raise Failure("cannot write %s: %s" % (path, error)) from None
        if self.show:
            images.cv2.imshow("edgeark", drawn[..., ::-1])
            return images.cv2.waitKey(1 if self.is_video else 0) & 255 != ord("q")
        return True

    def _write_frame(self, drawn):
        if self.writer is None:
            code = images.cv2.VideoWriter_fourcc(*"mp4v")
            height, width = drawn.shape[:2]
            self.writer = images.cv2.VideoWriter(self.path, code, 25.0, (width, height))
            if not self.writer.isOpened():
                raise Failure("this OpenCV cannot write %s: name a folder" % self.path)
        self.writer.write(np.ascontiguousarray(drawn[..., ::-1]))

    def close(self):
        if self.writer is not None:
            self.writer.release()


def run_source(program, source, options):
    found, is_video = frames(source, options.limit)
    sink, times = Sink(options, is_video), []
    if sink.is_file and not is_video and (os.path.isdir(source) or len(options.sources) > 1):
        raise Failure("--out %s: several images need a folder" % options.out)
    while True:
        start = time.perf_counter()
        name, image = next(found, (None, None))
        if image is None:
            break
        captured = 1e3 * (time.perf_counter() - start)
        answer, spent = program(image)
        times.append(dict(spent, capture=captured))
        if options.json:
            line = dict(task.json_of(answer), source=name, ms=times[-1])
            print(json.dumps(line, ensure_ascii=False))
        else:
            print("%s: %s" % (name, task.describe(answer) or "nothing found"))
        if not sink(name, image, answer):
            break
    sink.close()
    if is_video and not options.json:
        print(summary(times))


def summary(times):
    """Medians of the parts, and the rate that they allow."""
    medians = {part: float(np.median([entry[part] for entry in times])) for part in PARTS}
    parts = ", ".join("%s %.2f ms" % (part, medians[part]) for part in PARTS)
    return "%d frames: %s; %.1f frames a second" % (
        len(times),
        parts,
        1e3 / sum(medians.values()),
    )


def benchmark(program, folder, options):
    """The same image again and again, after a few runs that do not count."""
    if options.sources:
        found, _ = frames(options.sources[0], 1)
        start = time.perf_counter()
        _, image = next(found)
    else:
        start = time.perf_counter()
        planes = golden.read_pixels(program.facts, folder)[0]
        image = np.ascontiguousarray(planes.transpose(1, 2, 0)) if len(planes) > 1 else planes[0]
    captured = 1e3 * (time.perf_counter() - start)
    for _ in range(3):
        program(image)
    times = [dict(program(image)[1], capture=captured) for _ in range(options.benchmark)]
    if options.json:
        medians = {part: float(np.median([entry[part] for entry in times])) for part in PARTS}
        print(json.dumps({"runs": len(times), "ms": medians}))
    else:
        print(summary(times))


def main():
    options = parse_arguments()
    folder = find_folder()
    program = Program(read_facts(folder), folder, options)
    status = 0
    if options.golden:
        report = golden.check(program, folder)
        with open(options.golden, "w", encoding="utf-8") as file:
            json.dump(report, file, indent=2, allow_nan=False)
            file.write("\n")
        print(golden.describe(report), file=sys.stderr if options.json else sys.stdout)
        status = 0 if report["ok"] else 1
    if options.benchmark:
        benchmark(program, folder, options)
    else:
        for source in options.sources:
            run_source(program, source, options)
    return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failure, OSError) as failure:
        print("error: %s" % failure, file=sys.stderr)
        sys.exit(2)
