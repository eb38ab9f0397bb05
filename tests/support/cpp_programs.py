"""The C++ programs of bundles: built by CMake, run on real libraries or on stand-ins of them."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import onnxruntime
import pytest
from edgeark.export.targets import find_target

from support.edge_post_c import compiler
from support.programs import Ran

RUNTIMES = Path(__file__).resolve().parent / "runtimes"
_LAUNCHER = f"{sys.executable};{Path(__file__).with_name('compile_once.py')}"


@cache
def session_folder() -> Path:
    """Objects of this session; the system removes them."""
    return Path(tempfile.mkdtemp(prefix="edgeark-cpp-"))


def build_program(
    bundle: Path, *options: str, build_type: str = "Debug", folder: str = "build"
) -> Path:
    """The program of a bundle, every warning an error; skips where CMake or a compiler lacks."""
    compiler("g++", "g++")
    cmake = compiler("cmake", "cmake")
    compiler("make", "make")
    build = bundle / "cpp" / folder
    flags = [f"-DCMAKE_BUILD_TYPE={build_type}", "-DCMAKE_CXX_FLAGS=-Werror", "-DWITH_OPENCV=OFF"]
    for language in ("C", "CXX"):
        flags += [f"-DCMAKE_{language}_COMPILER_LAUNCHER={_LAUNCHER}"]
    environment = {**os.environ, "COMPILE_ONCE": str(session_folder() / "objects")}
    for command in (
        [cmake, "-S", bundle / "cpp", "-B", build, "-G", "Unix Makefiles", *flags, *options],
        [cmake, "--build", build],
    ):
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return build / "run"


def run_built(program: Path, *arguments: object, env: Mapping[str, str] | None = None) -> Ran:
    done = subprocess.run(
        [str(part) for part in (program, *arguments)],
        cwd=program.parents[3],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **(env or {})},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def openvino_options() -> list[str]:
    """Of OpenVINO's wheel, which has headers, libraries and CMake's files."""
    return [f"-DOpenVINO_DIR={_packages('openvino') / 'openvino' / 'cmake'}"]


def onnxruntime_options() -> list[str]:
    """The wheel's real library, and our own header."""
    capi = Path(onnxruntime.__file__).parent / "capi"
    (library,) = capi.glob("libonnxruntime.so*")
    folder = session_folder() / "onnxruntime"
    folder.mkdir(exist_ok=True)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):  # a wheel lacks the usual names
        _link(folder / name, library)
    header = RUNTIMES / "onnxruntime" / "include"
    return [
        f"-DONNXRUNTIME_INCLUDE={header}",
        f"-DONNXRUNTIME_LIBRARY={folder / library.name[:17]}",
    ]


def mnn_options() -> list[str]:
    """The wheel's real library, a module of Python's that needs that library, and our header.

    Skips where this Python has no shared library.
    """
    python = Path(sysconfig.get_config_var("LIBDIR")) / sysconfig.get_config_var("LDLIBRARY")
    if python.suffix != ".so":
        pytest.skip("needs a shared library of Python: MNN's wheel is a module of Python's")
    packages, folder = _packages("mnn"), session_folder() / "mnn"
    folder.mkdir(exist_ok=True)
    (module,) = packages.glob("_mnncengine*.so")
    _link(folder / "libMNN.so", module)
    _link(folder / "mnn.libs", packages / "mnn.libs")
    needed = f"-Wl,--no-as-needed {python} -Wl,-rpath,{python.parent}"
    return [
        f"-DMNN_INCLUDE={RUNTIMES / 'mnn' / 'include'}",
        f"-DMNN_LIBRARY={folder / 'libMNN.so'}",
        f"-DCMAKE_EXE_LINKER_FLAGS={needed}",
    ]


def opencv_options() -> list[str]:
    """The machine's own OpenCV; skips where it has none.

    CMake is asked as the program asks it: ``--find-package`` does not know Debian's folders.
    """
    folder = session_folder() / "find_opencv"
    folder.mkdir(exist_ok=True)
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\n"
        "project(find LANGUAGES CXX)\n"
        "find_package(OpenCV REQUIRED)\n"
    )
    command = [compiler("cmake", "cmake"), "-S", folder, "-B", folder / "build"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs OpenCV's headers: apt-get install libopencv-dev")
    return ["-DWITH_OPENCV=ON"]


def stand_in_options(name: str, bundle: Path) -> list[str]:
    """A stand-in of a runtime, compiled for the bundle's network."""
    home, library = RUNTIMES / name, bundle / f"lib{name}.so"
    command = [
        compiler("g++", "g++"),
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-shared",
        "-fPIC",
    ]
    command += [f"-I{bundle / 'cpp'}", f"-I{home / 'include'}"]
    command += [str(home / "library.cpp"), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        "ncnn": [f"-Dncnn_DIR={home}", f"-DSTAND_IN_LIBRARY={library}"],
        "opencv": [f"-DOpenCV_DIR={home}", f"-DSTAND_IN_LIBRARY={library}"],
        "litert": [f"-DTFLITE_INCLUDE={home / 'include'}", f"-DTFLITE_LIBRARY={library}"],
        "cvitek": [f"-DCVIRUNTIME_INCLUDE={home / 'include'}", f"-DCVIRUNTIME_LIBRARY={library}"],
        "rknn": [f"-DRKNN_INCLUDE={home / 'include'}", f"-DRKNN_LIBRARY={library}"],
    }[name]


def calls_of(oracle: Path) -> list[str]:
    """The calls that a stand-in wrote down, and forgets."""
    path = oracle / "calls.txt"
    lines = path.read_text().splitlines()
    path.unlink()
    return lines


def _packages(target: str) -> Path:
    toolchain = find_target(target).toolchain
    assert toolchain is not None
    (found,) = toolchain.ensure().parents[1].glob("lib/python3*/site-packages")
    return found


def _link(path: Path, to: Path) -> None:
    if not path.exists():
        path.symlink_to(to)
