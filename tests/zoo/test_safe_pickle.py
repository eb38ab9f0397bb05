"""Weights files that would do harm, and damaged ones: refused in one line, nothing of them run."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from edgeark.errors import EdgearkError
from edgeark.zoo import WeightsError
from edgeark.zoo.importers import import_weights
from edgeark.zoo.importers.files import read_foreign
from edgeark.zoo.importers.safe_pickle import Name, Record, read_pickle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.ultralytics_fakes import DetectionModel, save_checkpoint

TOUCH = b"open('harm', 'w')"


def write_zip(path: Path, data: bytes, **records: bytes) -> Path:
    """A file as torch.save lays it out, around any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data)
        for key, content in records.items():
            file.writestr(f"archive/data/{key.lstrip('_')}", content)
    return path


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


# Each would run code, or reach for it, in pickle.load.
MALICIOUS = {
    "posix.system": b"cposix\nsystem\n(S'touch harm'\ntR.",
    "os.system": b"\x80\x02cos\nsystem\n" + short(b"touch harm") + b"\x85R.",
    "builtins.eval": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93" + short(TOUCH) + b"\x85R.",
    "builtins.exec": b"c__builtin__\nexec\n" + short(TOUCH) + b"\x85R.",
    "builtins.getattr": b"cbuiltins\ngetattr\n(cmodels.yolo\nModel\nS'__init__'\ntR.",
    "builtins.__import__": b"cbuiltins\n__import__\n(S'os'\ntR.",
    "torch.load": b"ctorch\nload\n(S'other.pt'\ntR.",
    "torch.serialization.load": b"ctorch.serialization\nload\n(S'other.pt'\ntR.",
    "torch.hub.load": b"ctorch.hub\nload\n(S'a/b'\ntR.",
    "torch.storage._load_from_bytes": b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
    "subprocess.Popen": b"csubprocess\nPopen\n(S'ls'\nt\x81.",
    "os.environ": b"cos\nenviron\n}S'A'\nS'B'\nsb.",
    "importlib.import_module": b"cimportlib\nimport_module\n(S'os'\ntR.",
    "torch.nnx.Module": b"ctorch.nnx\nModule\n.",
    "modelsx.yolo.Model": b"cmodelsx.yolo\nModel\n.",
}


_NESTED = {
    "in a checkpoint": (b"}(S'model'\n", b"u."),
    "in a persistent id": (b"(S'storage'\n", b"tQ."),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("nested", ["alone", *_NESTED])
def test_a_name_that_weights_do_not_need_ends_the_reading(
    name: str, nested: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = MALICIOUS[name]
    if nested != "alone":
        inner = data[:-1].removeprefix(b"\x80\x02").removeprefix(b"\x80\x04")
        start, end = _NESTED[nested]
        data = start + inner + end
    for path in (write_zip(tmp_path / "x.pt", data), tmp_path / "x.pkl"):
        path.write_bytes(data if path.suffix == ".pkl" else path.read_bytes())
        with pytest.raises(WeightsError, match=f"refers to '{name}'") as caught:
            import_weights(path, "yolov5n")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"(S'touch harm'\nios\nsystem\n.",  # INST
        b"(cmodels.yolo\nModel\no.",  # OBJ
        b"\x82\x01.",  # EXT1
        b"I1\n2.",  # DUP
        b"P1\n.",  # PERSID
    ],
)
def test_instructions_that_weights_do_not_need_are_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="instruction"):
        import_weights(write_zip(tmp_path / "x.pt", data), "yolov5n")


@pytest.mark.parametrize(
    "data",
    [
        b"cmodels.yolo\nModel\n}S'a'\nI1\nsb.",  # a state set on a class
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}S'__code__'\nI1\nstb.",  # ... on a function
        b"S'text'\n(I1\ntR.",  # a call of a text
        b"(cmodels.yolo\nModel\n(tRI1\n(tR.",  # a call of an object
        b"\x80\x02}((K\x01K\x02tK\x03s.",  # a tuple as key: its hash may have no end
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"h\x05.",
        b".",
        b"",
    ],
)
def test_what_no_pickler_writes_is_broken(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="broken"):
        import_weights(write_zip(tmp_path / "x.pt", data), "yolov5n")


class _Explosive(ModuleType):
    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"{name} was looked up")


def test_allowed_classes_are_neither_imported_nor_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "evil.py").write_text(f"open({str(tmp_path / 'harm')!r}, 'w')\ndef run(*a): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    data = b"cmodels.evil\nrun\n(S'x'\ntR}S'__setstate__'\nI1\nsb."
    with pytest.raises(WeightsError, match="neither a module nor a dict"):
        import_weights(write_zip(tmp_path / "x.pt", data), "yolov5n")
    path = save_checkpoint(DetectionModel(), tmp_path / "ok.pt")
    for name in ("models", "models.yolo", "models.common"):
        monkeypatch.setitem(sys.modules, name, _Explosive(name))
    import_weights(path, "yolov5n")
    assert not (tmp_path / "harm").exists()
    assert "models.evil" not in sys.modules


class Storage:
    def __init__(self, *reference: object) -> None:
        self.reference = reference


class Rebuilt:
    """Pickles as a tensor with any arguments."""

    def __init__(self, storage: object, offset: object, size: object, stride: object) -> None:
        self.args = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.args


def torch_zip(path: Path, root: object, **records: bytes) -> Path:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return obj.reference if isinstance(obj, Storage) else None

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump(root)
    return write_zip(path, stream.getvalue(), **records)


FOUR = Storage("storage", torch.FloatStorage, "0", "cpu", 4)


@pytest.mark.parametrize(
    "arguments",
    [
        (FOUR, 0, (5,), (1,)),
        (FOUR, 1, (2, 2), (2, 1)),
        (FOUR, 0, (1 << 40,), (0,)),
        (FOUR, 0, (2, 2), (0, 1 << 40)),
        (FOUR, -1, (2,), (1,)),
        (FOUR, 0, (-2,), (1,)),
        (FOUR, 0, (2,), (-1,)),
        (FOUR, 0, (2, 2), (1,)),
        (FOUR, 0, (1,) * 100, (1,) * 100),
        (FOUR, 0, [2], [1]),
        (FOUR, 0.0, (2,), (1,)),
        (FOUR, 0, (0, 1 << 40), (1, 1)),
        (None, 0, (2,), (1,)),
        (Storage("storage", torch.FloatStorage, "0", "cpu", 1 << 40), 0, (1 << 40,), (1,)),
        (Storage("storage", torch.DoubleStorage, "0", "cpu", 4), 0, (4,), (1,)),
        (Storage("storage", torch.FloatStorage, "1", "cpu", 4), 0, (4,), (1,)),
        (Storage("storage", torch.FloatStorage, "0", "cpu", -1), 0, (1,), (1,)),
        (Storage("storage", torch.FloatStorage, 0, "cpu", 4), 0, (4,), (1,)),
        (Storage("file", torch.FloatStorage, "0", "cpu", 4), 0, (4,), (1,)),
        (Storage("storage", OrderedDict, "0", "cpu", 4), 0, (4,), (1,)),
        (Storage("storage"), 0, (4,), (1,)),
    ],
)
def test_a_tensor_is_no_larger_than_its_storage(arguments: tuple, tmp_path: Path) -> None:
    root = {"w": Rebuilt(*arguments)}
    path = torch_zip(tmp_path / "x.pt", root, _0=struct.pack("4f", 1, 2, 3, 4))
    with pytest.raises(WeightsError) as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((FOUR, 0, (2, 2), (2, 1)), [[1, 2], [3, 4]]),
        ((FOUR, 0, (2, 2), (1, 2)), [[1, 3], [2, 4]]),
        ((FOUR, 3, (), ()), 4),
        ((FOUR, 0, (0,), (1,)), []),
    ],
)
def test_views_of_a_storage_are_read(arguments: tuple, wanted: Any, tmp_path: Path) -> None:
    root = {"w": Rebuilt(*arguments)}
    path = torch_zip(tmp_path / "x.pt", root, _0=struct.pack("4f", 1, 2, 3, 4))
    assert read_foreign(path).state["w"].tolist() == wanted


def test_one_storage_is_not_multiplied(tmp_path: Path) -> None:
    root = {str(i): Rebuilt(FOUR, 0, (4,), (1,)) for i in range(10_000)}
    path = torch_zip(tmp_path / "x.pt", root, _0=bytes(16))
    assert len(read_foreign(path).state) == 10_000  # the pickle is larger than the tensors
    many = Storage("storage", torch.FloatStorage, "0", "cpu", 1 << 20)
    root = {str(i): Rebuilt(many, 0, (1 << 20,), (1,)) for i in range(100)}
    path = torch_zip(tmp_path / "y.pt", root, _0=bytes(4 << 20))
    with pytest.raises(WeightsError, match="the tensors are larger than the file"):
        read_foreign(path)


def test_modules_without_end_are_refused(tmp_path: Path) -> None:
    data = b"}(S'model'\ncmodels.yolo\nModel\n)\x81p0\n}(S'_modules'\n}(S'a'\ng0\nS'b'\ng0\nuubu."
    with pytest.raises(WeightsError, match="none that PyTorch wrote"):
        import_weights(write_zip(tmp_path / "x.pt", data), "yolov5n")


def test_packed_and_foreign_zips_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", bytes(1 << 20))
    with pytest.raises(WeightsError, match="a zip that PyTorch did not write"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(WeightsError, match=r"no data\.pkl"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", "")
        file.writestr("a/byteorder", "big")
    with pytest.raises(WeightsError, match="big-endian"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py"):
            file.writestr(f"m/{name}", "")
    with pytest.raises(WeightsError, match="TorchScript"):
        read_foreign(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.pt", b"not a file of torch", "is no PyTorch file"),
        ("x.pt", b"", "is no PyTorch file"),
        ("x.pt", b"PK\x03\x04rest", "cut off or damaged"),
        ("x.safetensors", b"{}", "not a readable safetensors file"),
        ("x.npz", b"{}", r"no readable \.npz"),
        ("x.pkl", b"{}", "broken"),
        ("x.pkl", b"N.", "no dict of arrays"),
        ("x.pkl", pickle.dumps({"a": 1}), "no pickled dict of plain arrays"),
        ("x.pkl", pickle.dumps({"a": np.array(["text"])}), "no plain numbers"),
        ("x.pkl", pickle.dumps({"a": np.array([{}])}), "no plain numbers"),
        ("x.onnx", b"", r"no weights file that is known: \.pt"),
        ("x", b"", "no weights file that is known"),
    ],
)
def test_other_files_are_one_line(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=message) as caught:
        read_foreign(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_the_old_format_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"w": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"before 1\.6.*torch\.save it again"):
        read_foreign(path)
    with pytest.raises(WeightsError, match="no weights file at"):
        read_foreign(tmp_path / "none.pt")


def test_npz_files_lie_in_vain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(WeightsError, match="holds no numbers"):
        read_foreign(path)
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", stream.getvalue())
    with pytest.raises(WeightsError, match="larger than its record"):
        read_foreign(path)
    monkeypatch.setattr("edgeark.zoo.importers.numpy_file._MOST_BYTES", 1000)
    np.savez_compressed(path, a=np.zeros(1000, "f4"))
    with pytest.raises(WeightsError, match="unpacks to more"):
        read_foreign(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    model = DetectionModel(base=8)
    return save_checkpoint(model, tmp_path_factory.mktemp("pt") / "best.pt").read_bytes()


SHARED = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED
@given(data=st.data())
def test_a_file_that_is_cut_off_is_one_line(whole: bytes, tmp_path: Path, data: Any) -> None:
    path = tmp_path / "cut.pt"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(WeightsError) as caught:
        import_weights(path, "yolov5n")
    assert "\n" not in str(caught.value)


@SHARED
@given(data=st.data())
def test_a_damaged_file_is_one_line_or_read(whole: bytes, tmp_path: Path, data: Any) -> None:
    """Damage in the zip's own tables may be harmless; in a record its checksum tells."""
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        tail = st.integers(max(0, len(whole) - 30_000), len(whole) - 1)
        place = data.draw(st.integers(0, len(whole) - 1) | tail)
        damaged[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.pt"
    path.write_bytes(damaged)
    try:
        read_foreign(path)
    except EdgearkError as error:
        assert "\n" not in str(error)


@pytest.fixture(scope="module")
def real_pickle(whole: bytes) -> bytes:
    return zipfile.ZipFile(io.BytesIO(whole)).read("best/data.pkl")


@SHARED
@given(data=st.data())
def test_any_pickle_is_read_or_refused(real_pickle: bytes, data: Any) -> None:
    changed = bytearray(real_pickle)
    for _ in range(data.draw(st.integers(0, 20))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(
            st.sampled_from([ord(opcode.code) for opcode in pickletools.opcodes])
            | st.integers(0, 255)
        )
    content = data.draw(st.sampled_from([bytes(changed)]) | st.binary(max_size=200))
    try:
        read_pickle(content, lambda name: True, lambda reference: reference)
    except WeightsError as error:
        assert "\n" not in str(error)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(max_examples=60)
@given(
    st.recursive(
        PLAIN | st.binary(),
        lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    ),
    st.integers(3, 5),
)
def test_plain_values_come_back_as_pickle_has_them(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol), lambda name: False) == value


def test_objects_become_records() -> None:
    data = pickle.dumps(OrderedDict(a=Path("x")), 2)
    found = read_pickle(data, lambda name: True)
    assert isinstance(found["a"], Record) and isinstance(found["a"].kind, Name)
    assert found["a"].args == ("x",)
