"""Files of other people: they are read, and what they hold never runs as this user."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.export.graph.program_file import check_program
from edgeark.export.graph.torchscript_file import ProgramError, check_torchscript
from edgeark.export.pipeline import export_model
from edgeark.export.results.manifest import sha256_of
from edgeark.export.sources import InputOptions, open_source
from edgeark.export.targets.own_script import require_own_script
from edgeark.export.toolchains import confine, process
from edgeark.export.toolchains.process import call, run_command
from edgeark.export.verify import reopen, verify_export
from support import pplnn_double
from support.command import Run
from support.exports import export
from support.untrusted import FILL, Toucher, TouchesWhenLoaded, Unknown, fake_toolchain
from torch import nn

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
needs_landlock = pytest.mark.skipif(not confine.can_confine(), reason="no Landlock here")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (path := tmp_path / "victim").write_bytes(b"precious" * 20)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("unet_8", tmp_path_factory.mktemp("written"), "torchscript")[1]


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "float32")


def put(folder: Path, network: nn.Module) -> None:
    """Another program in an export's folder, with its digest."""
    torch.jit.save(torch.jit.script(network), folder / "model.pt")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for file in manifest["files"]:
        of_it = folder / file["name"]
        file |= {"bytes": of_it.stat().st_size, "sha256": sha256_of(of_it)}
    path.write_text(json.dumps(manifest))


def test_an_honest_program_runs(folder: Path, run: Run) -> None:
    (row,) = run("verify", folder, "--json").json
    assert (row["status"], row["repeat_error"]) == ("ok", 0.0)


@pytest.mark.parametrize("network", [Toucher, TouchesWhenLoaded])
def test_a_program_that_writes_is_refused_before_it_is_loaded(
    network: Callable[[str], nn.Module], folder: Path, victim: Path, run: Run
) -> None:
    before = victim.read_bytes()
    put(folder, network(str(victim)))
    victim.write_bytes(before)  # making the second one has run it
    (row,) = run("verify", folder, "--json").json
    assert row["status"] == "error" and "aten::from_file" in row["message"]
    assert "--trust" in row["message"] and victim.read_bytes() == before
    with pytest.raises(EdgearkError, match="from_file"):
        open_source(folder / "model.pt")
    assert victim.read_bytes() == before


def test_with_trust_it_runs(folder: Path, victim: Path, run: Run) -> None:
    put(folder, Toucher(str(victim)))
    run("verify", folder, "--trust", "--json")
    assert np.frombuffer(victim.read_bytes()[:4], np.float32)[0] == FILL


@needs_landlock
def test_where_the_check_is_passed_the_process_still_cannot_write(
    folder: Path, victim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = victim.read_bytes()
    put(folder, Toucher(str(victim)))
    monkeypatch.setattr(
        "edgeark.export.backends.torchscript.target.check_torchscript", lambda *_, **__: None
    )
    row = verify_export(reopen(folder))
    assert row.status == "error" and victim.read_bytes() == before


def test_operators_that_nobody_knows_run_where_they_can_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.jit.save(torch.jit.script(Unknown()), path)
    check_torchscript(path, every_operator=True)
    with pytest.raises(ProgramError, match=r"calls aten::geqrf, which may do more"):
        check_torchscript(path)
    with pytest.raises(EdgearkError, match="geqrf"):
        open_source(path)


def rewrite_archive(path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]]) -> None:
    with zipfile.ZipFile(path) as old:
        entries = [(name, old.read(name)) for name in old.namelist()]
    with zipfile.ZipFile(path, "w") as new:
        for name, content in entries:
            for each in change(name, content):
                new.writestr(*each)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_reads_in_two_ways_is_refused(folder: Path) -> None:
    path = folder / "model.pt"
    check_torchscript(path)
    content = path.read_bytes()
    path.write_bytes(b"x" + content)
    with pytest.raises(ProgramError, match="no archive"):
        check_torchscript(path)
    path.write_bytes(b"PK\x03\x04" + content)
    with pytest.raises(ProgramError, match="in two ways"):
        check_torchscript(path)
    path.write_bytes(content)
    rewrite_archive(path, lambda n, c: [(n, c), (n.upper(), c)] if n.endswith(".py") else [(n, c)])
    with pytest.raises(ProgramError, match="in two ways"):
        check_torchscript(path)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Hardswish(), nn.Flatten())
    path = tmp_path_factory.mktemp("program") / "net.pt2"
    torch.export.save(torch.export.export(network.eval(), (torch.zeros(1, 3, 8, 8),)), path)
    return path


def edit(old: str, new: str) -> Callable[[str, bytes], list[tuple[str, bytes]]]:
    def change(name: str, content: bytes) -> list[tuple[str, bytes]]:
        if not name.endswith("model.json"):
            return [(name, content)]
        assert old in content.decode()
        return [(name, content.decode().replace(old, new).encode())]

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("torch.ops.aten.hardswish.default", "torch.os.system"), "the target .torch.os"),
        (edit("torch.ops.aten.hardswish.default", "torch.ops.aten.from_file.default"), "from_file"),
        (edit('"guards_code": []', '"guards_code": ["__import__(\'os\')"]'), "the guards_code"),
        (edit('"name": "hardswish"', '"name": "x=exec(1)"'), "the name 'x=exec"),
        (lambda n, c: [(n, c), ("net/data/constants/opaque_obj_0", b"")][: 1 + n.endswith(".pt")],
         "holds data/constants/opaque_obj_0"),
        (lambda n, c: [(n, c), ("net/data/aotinductor/m/a.so", b"")][: 1 + n.endswith(".pt")],
         "holds data/aotinductor"),
    ],
)  # fmt: skip
def test_an_exported_program_holds_tensors_and_known_operators_alone(
    change: Callable[[str, bytes], list[tuple[str, bytes]]],
    message: str,
    program: Path,
    tmp_path: Path,
) -> None:
    check_program(program)
    path = Path(shutil.copy(program, tmp_path))
    rewrite_archive(path, change)
    with pytest.raises(EdgearkError, match=message):
        open_source(path)


def test_an_exported_program_is_not_unpickled(program: Path, tmp_path: Path, victim: Path) -> None:
    """PyTorch falls back to unpickling its example inputs where they are no plain tensors."""
    assert open_source(program).spec.input_shape == (1, 3, 8, 8)
    path = Path(shutil.copy(program, tmp_path))
    script = f"""
import io, os, torch
class Bad:
    def __reduce__(self):
        return os.unlink, ({str(victim)!r},)
torch.save(Bad(), {str(tmp_path / "bad.bin")!r})
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    bad = (tmp_path / "bad.bin").read_bytes()
    rewrite_archive(path, lambda n, c: [(n, bad if "sample_inputs" in n else c)])
    with pytest.raises(EdgearkError):
        open_source(path)
    assert victim.exists()


OWN = '"""One."""\nimport os\nSHAPE = (1, 2)\nNAMES = ["a"]\n\ndef run():\n    return SHAPE\n'


def test_a_script_of_a_folder_runs_if_it_is_edgearks_but_for_constants(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(OWN.replace("One", "Two").replace("(1, 2)", "(3, 4, 5)"))
    require_own_script(script, [OWN])
    for old, new in (
        ("(1, 2)", "(os.getpid(), 2)"),
        ("return SHAPE", "os.abort()"),
        ("import os\n", "import os\nos.abort()\n"),
        ("import os", "import sys"),
        ("SHAPE = (1, 2)", "run = (1, 2)"),
        ("def", "de f"),
    ):
        script.write_text(OWN.replace(old, new))
        with pytest.raises(EdgearkError, match=r"--trust|cannot read the script"):
            require_own_script(script, [OWN])


@needs_landlock
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("write", "Permission"),
        ("delete", "Permission"),
        ("truncate", "Permission"),
        ("child", "CalledProcessError"),
        ("socket", "not permitted"),
        ("kill", "not permitted|No such process"),
        ("memory", "MemoryError"),
    ],
)
def test_a_confined_worker_changes_nothing(
    what: str, message: str, victim: Path, tmp_path: Path
) -> None:
    before = victim.read_bytes()
    arguments = {"what": what, "path": str(victim)}
    with pytest.raises(EdgearkError, match=message):
        call(
            *(fake_toolchain(), "misbehave", arguments),
            log=tmp_path / "log.txt",
            confined=True,
            memory_bytes=2**29,
        )
    assert victim.read_bytes() == before


@needs_landlock
def test_a_confined_worker_writes_where_it_works(tmp_path: Path) -> None:
    values, _ = call(fake_toolchain(), "behave", {}, log=tmp_path / "log.txt", confined=True)
    assert values == {"temporary": True, "child": "done"}


@needs_landlock
@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("open(victim, 'w')", "Permission"),
        ("os.unlink(victim)", "Permission"),
        ("subprocess.run(['rm', victim], check=True)", "CalledProcessError"),
        ("socket.socket()", "not permitted"),
        ("bytearray(2**30)", "MemoryError"),
        ("open('here', 'w').close(); tempfile.mkstemp()", ""),
    ],
)
def test_a_confined_program_of_the_users_changes_nothing(
    line: str, message: str, victim: Path, tmp_path: Path
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    before = victim.read_bytes()
    code = f"import os, socket, subprocess, sys, tempfile\nvictim = sys.argv[1]\n{line}"

    def start(**limits: object) -> None:
        command = [sys.executable, "-c", code, str(victim)]
        log = tmp_path / "log.txt"
        run_command("own", "run", command, cwd=scratch, log=log, **limits)  # type: ignore[arg-type]

    limits = {"confined_to": [scratch], "memory_bytes": 2**29}
    if message:
        with pytest.raises(EdgearkError, match="status 1"):
            start(**limits)
        assert message in (tmp_path / "log.txt").read_text()
        assert victim.read_bytes() == before
    else:
        start(**limits)
        assert len(list(scratch.iterdir())) == 2


@pytest.fixture(scope="module")
def for_pplnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export that the stand-in for ``pplnn`` has run."""
    folder = tmp_path_factory.mktemp("pplnn")
    inputs = InputOptions(shapes="3x8x8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PPLNN_CALLS", str(folder / "calls"))
        tools = {"pplnn": pplnn_double.install(folder / "bin")}
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        (row,) = export_model(network, "pplnn", inputs=inputs, limit=2, tools=tools, out=folder)
    assert row.evidence == "executed on noise" and row.artifact is not None, row.message
    return row.artifact.parent


@needs_landlock
def test_a_tool_of_the_users_runs_an_export_of_others_confined(
    for_pplnn: Path, tmp_path: Path, victim: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for ``pplnn`` writes to a file beside its answers."""
    folder, before = shutil.copytree(for_pplnn, tmp_path / "float32"), victim.read_bytes()
    given = ("verify", folder, "--tool", f"pplnn={pplnn_double.install(tmp_path / 'bin')}")
    monkeypatch.setenv("PPLNN_CALLS", "/dev/null")
    (row,) = run(*given, "--json").json
    assert (row["status"], row["evidence"]) == ("ok", "executed on noise")
    monkeypatch.setenv("PPLNN_CALLS", str(victim))
    (row,) = run(*given, "--json").json
    assert row["status"] == "error" and victim.read_bytes() == before
    run(*given, "--trust")
    assert victim.read_bytes() != before


def test_what_lies_beside_a_script_is_not_imported(
    for_pplnn: Path, tmp_path: Path, victim: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would look for NumPy in the script's folder first."""
    folder = shutil.copytree(for_pplnn, tmp_path / "float32")
    (folder / "numpy.py").write_text(f"open({str(victim)!r}, 'w').close()")
    (folder / "loop").symlink_to(folder)
    monkeypatch.setattr(process, "can_confine", lambda: False)
    monkeypatch.setenv("PPLNN_CALLS", "/dev/null")
    program = pplnn_double.install(tmp_path / "bin")
    (row,) = run("verify", folder, "--tool", f"pplnn={program}", "--json").json
    assert row["status"] == "ok" and victim.read_bytes(), row["message"]
