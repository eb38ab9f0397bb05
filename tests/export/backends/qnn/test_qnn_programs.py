"""Programs for Qualcomm's HTP, on the real libraries of the wheels and the emulator."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.bundle.write import write_bundle
from PIL import Image
from support.cpp_programs import RUNTIMES, build_program, run_built
from support.edge_post_c import compiler
from support.exports import export
from support.program_answers import check_same, write_photos
from support.programs import Ran, run_program
from support.target_base import installed_target

TARGET = "qnn:v73"
ANSWER = Path(__file__).with_name("Answer.kt")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a detector, with all programs."""
    installed_target(TARGET)
    folder = tmp_path_factory.mktemp("bundle")
    _, exported = export("yolov5n", folder, TARGET, "int8")
    return write_bundle(exported, folder / "bundle", ("python", "cpp", "kotlin")).folder


def libraries(bundle: Path) -> tuple[list[str], list[str]]:
    """CMake's options, and those of the program."""
    (packages,) = installed_packages()
    (library,) = (packages / "onnxruntime" / "capi").glob("libonnxruntime.so.1*")
    folder = bundle.parent / "libraries"
    folder.mkdir(exist_ok=True)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        if not (folder / name).exists():
            (folder / name).symlink_to(library)
    header = RUNTIMES / "onnxruntime" / "include"
    options = [f"-DONNXRUNTIME_INCLUDE={header}"]
    options += [f"-DONNXRUNTIME_LIBRARY={folder / 'libonnxruntime.so'}"]
    own = packages / "onnxruntime_qnn"
    provider, backend = own / "libonnxruntime_providers_qnn.so", own / "libQnnHtp.so"
    return options, ["--provider", str(provider), "--backend", str(backend)]


def installed_packages() -> list[Path]:
    toolchain = installed_target(TARGET).toolchain
    assert toolchain is not None
    return list(toolchain.ensure().parents[1].glob("lib/python3*/site-packages"))


def photo_of(folder: Path) -> Path:
    return write_photos(folder, 60, 96)[0]


def python_answer(bundle: Path, photo: Path, *options: object) -> dict:
    ran = run_program(bundle, installed_target(TARGET), photo, "--json", *options)
    assert ran.status == 0, ran.err
    return next(each for each in ran.documents() if "source" in each)


def test_python_and_cpp_answer_alike_and_as_the_export(bundle: Path, tmp_path: Path) -> None:
    photo = photo_of(tmp_path)
    wanted = python_answer(bundle, photo, "--golden", tmp_path / "python.json")
    options, own = libraries(bundle)
    program = build_program(bundle, *options)
    report = tmp_path / "board.json"
    ran = run_built(program, photo, "--json", "--golden", report, *own)
    assert ran.status == 0, ran.err
    (document,) = (each for each in ran.documents() if "source" in each)
    check_same(wanted, document, photo)
    for path in (report, tmp_path / "python.json"):
        told = json.loads(path.read_text())
        assert told["ok"] and told["runtime"]["provider"] == "QNNExecutionProvider"
        assert told["differences"]["export"]["max_abs_error"] < 1e-3


def test_kotlin_answers_and_draws_as_python_does(bundle: Path, tmp_path: Path) -> None:
    """On a PC's JVM: the library and the class are those of an app."""
    kotlinc, javac = compiler("kotlinc", "kotlin"), compiler("javac", "default-jdk-headless")
    cmake, java = compiler("cmake", "cmake"), compiler("java", "default-jre-headless")
    options, own = libraries(bundle)
    home, build = Path(javac).resolve().parents[1], bundle / "android" / "build"
    options += [f"-DJAVA_HOME={home}", "-DCMAKE_CXX_FLAGS=-Werror", "-DCMAKE_BUILD_TYPE=Debug"]
    sources = [str(ANSWER), str(bundle / "android" / "EdgearkNetwork.kt")]
    jar, photo = tmp_path / "answer.jar", photo_of(tmp_path)
    called([cmake, "-S", str(bundle / "android"), "-B", str(build), *options])
    called([cmake, "--build", str(build)])
    called([kotlinc, *sources, "-include-runtime", "-d", str(jar)])
    pixels = np.asarray(Image.open(photo).convert("RGBA"))
    raw = tmp_path / "pixels.rgba"
    pixels.tofile(raw)
    height, width = pixels.shape[:2]
    start = [java, f"-Djava.library.path={build}", "-cp", str(jar), "AnswerKt"]
    told = called([*start, str(bundle), str(raw), str(width), str(height), *unspelt(own)])
    (document,) = told.documents()
    wanted = python_answer(bundle, photo)
    assert wanted["detections"]
    check_same(wanted, document, photo)
    drawn = np.fromfile(raw, np.uint8).reshape(pixels.shape)
    assert (drawn[..., :3] != pixels[..., :3]).any() and (drawn[..., 3] == 255).all()
    lost = subprocess.run(
        [*start, str(tmp_path), str(raw), str(width), str(height), *unspelt(own)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert lost.returncode == 1 and "java.lang.RuntimeException" in lost.stderr


def unspelt(options: list[str]) -> list[str]:
    return [option.removeprefix("--") for option in options]


def called(command: list[str]) -> Ran:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return Ran(done.returncode, done.stdout, done.stderr)
