"""The constants of C++ programs, and what their tasks make of outputs: own classes, own anchors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from edgeark.export.bundle.cpp_program import HERE, cpp_real, cpp_text, model_header
from edgeark.export.bundle.facts import Facts, GoldenFacts
from edgeark.export.results.interface import InputFacts, OutputFacts, head_facts, resize_facts
from edgeark.export.tasks import get_task
from edgeark.zoo import model_entry
from edgeark.zoo.spec import ModelSpec
from PIL import Image
from support.edge_post_c import SOURCES, Library, compiler, run_command
from support.program_answers import check_same

CPP = HERE / "cpp"
SUPPORT = Path(__file__).parents[2] / "support"
STRICT = ["-std=c++17", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", f"-I{SOURCES}"]
HEIGHT, WIDTH = 64, 96
CASES = [
    *(("yolov5n", count) for count in (1, 2, 4, 80, 300)),
    *(("yolox_nano", count) for count in (1, 4, 300)),
    *(("yolo11n", count) for count in (2, 4, 80)),
    *(("unet_8", count) for count in (1, 2, 5)),
    *(("mobilenet_v1_025", count) for count in (1, 3, 300)),
]


def names_of(count: int) -> tuple[str, ...]:
    """With quotes, spaces, backslashes, digits after escapes, other scripts."""
    return tuple(f"\"{i}\" 'größe' 猫\\n??/ é{i}" for i in range(count))


def outputs_of(spec: ModelSpec, count: int) -> list[np.ndarray]:
    """Random ones, as the network's head has them."""
    rng = np.random.default_rng(count)
    if spec.task == "classification":
        return [rng.normal(0, 2, (1, count)).astype(np.float32)]
    if spec.task == "segmentation":
        return [rng.normal(0, 2, (1, count, HEIGHT, WIDTH)).astype(np.float32)]
    outputs = []
    for index, stride in enumerate(spec.strides):
        own = {"yolov5": [len(spec.anchors[index]) * (5 + count)] if spec.anchors else []}
        channels = {"yolox": [4, 1, count], "dfl": [64, count], **own}[spec.head]
        size = (HEIGHT // stride, WIDTH // stride)
        outputs += [rng.normal(0, 2, (1, c, *size)).astype(np.float32) for c in channels]
    return outputs


def facts_for(spec: ModelSpec, outputs: list[np.ndarray]) -> Facts:
    fed = InputFacts((1, 3, HEIGHT, WIDTH), spec.color, mean=spec.mean, std=spec.std)
    return Facts(
        *("own", spec.task, "onnxruntime", "float32", "none"),
        files=({"name": "model.onnx", "sha256": "0" * 64},),
        input=fed,
        resize=resize_facts(spec),
        outputs=tuple(OutputFacts(o.shape, f"o{i}") for i, o in enumerate(outputs)),
        head=head_facts(spec),
        golden=GoldenFacts(0, "golden/pixels.bin", (), (), 1e-4),
    )


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """What does not depend on a network."""
    gxx, folder, made = compiler("g++", "g++"), tmp_path_factory.mktemp("objects"), []
    for name in ("codecs", "draw", "image", "json", "resize"):
        made.append(folder / f"{name}.o")
        run_command(gxx, *STRICT, "-c", CPP / f"{name}.cpp", "-o", made[-1])
    return made


def build(
    facts: Facts, outputs: list[np.ndarray], objects: list[Path], edge_post: Library, folder: Path
) -> Path:
    """What reads outputs from a file, which is written here."""
    (folder / "model.h").write_text(model_header(facts), encoding="ascii")
    np.concatenate([output.ravel() for output in outputs]).tofile(folder / "outputs")
    library = Path(edge_post.raw._name)
    run_command(
        *(compiler("g++", "g++"), *STRICT, f"-I{folder}", f"-I{CPP}"),
        *(CPP / f"{facts.task}.cpp", SUPPORT / "read_answer.cpp", *objects, library),
        *(f"-Wl,-rpath,{library.parent}", "-o", folder / "program"),
    )
    return folder / "program"


@pytest.mark.parametrize(("model", "count"), CASES)
def test_own_classes(
    model: str,
    count: int,
    objects: list[Path],
    edge_post: Library,
    tmp_path: Path,
) -> None:
    spec = replace(model_entry(model).spec, classes=names_of(count), input_size=(HEIGHT, WIDTH))
    if spec.anchors:
        own = tuple(tuple((w + 3.25, h * 0.75) for w, h in each) for each in spec.anchors)
        spec = replace(spec, anchors=own)
    outputs = outputs_of(spec, count)
    program = build(facts_for(spec, outputs), outputs, objects, edge_post, tmp_path)
    for size in ((201, 97), (51, 40)):  # larger and smaller than the input
        found = json.loads(run_command(program, tmp_path / "outputs", *size))
        task, image = get_task(spec.task), np.zeros((size[1], size[0], 3), np.uint8)
        wanted = task.postprocess(spec, outputs, task.preprocess(spec, image))
        if "mask" in wanted:
            mask = np.asarray(Image.open(f"{tmp_path / 'outputs'}.mask.pgm"))
            assert mask.shape == size[::-1] and (mask != wanted["mask"]).mean() < 1e-3
            names = ("background", *spec.classes) if count == 1 else spec.classes
            assert [e["name"] for e in found["shares"]] == [names[v] for v in np.unique(mask)]
        else:
            check_same(wanted, found, tmp_path)


def test_outputs_without_a_meaning(objects: list[Path], edge_post: Library, tmp_path: Path) -> None:
    """Of any rank; in PyTorch's order."""
    spec, rng = model_entry("mobilenet_v1_025").spec, np.random.default_rng(0)
    shapes = ((1, 7), (1, 3, 5), (1, 2, 4, 6), (1, 2, 3, 2, 5), (1,))
    outputs = [rng.normal(0, 1, shape).astype(np.float32) for shape in shapes]
    facts = facts_for(spec, outputs)
    facts = replace(facts, task="raw", head=replace(facts.head, decoder="raw", classes=()))
    program = build(facts, outputs, objects, edge_post, tmp_path)
    found = json.loads(run_command(program, tmp_path / "outputs", 30, 20))["outputs"]
    assert list(found) == [f"o{i}" for i in range(len(shapes))]
    for values, output in zip(found.values(), outputs, strict=True):
        np.testing.assert_allclose(values, output.ravel(), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("cat", '"cat"'),
        ('a "b"\\', '"a \\042b\\042\\134"'),
        ("é1\n", '"\\303\\2511\\012"'),
        ("??=", '"\\077\\077="'),
        ("", '""'),
    ],
)
def test_texts_are_ascii_literals(text: str, literal: str) -> None:
    assert cpp_text(text) == literal


@pytest.mark.parametrize(
    ("value", "literal"),
    [(0, "0.0f"), (0.1, "0.1f"), (1 / 3, "0.33333334f"), (1e-12, "1e-12f"), (-5.0, "-5.0f")],
)
def test_reals_are_float_literals(value: float, literal: str) -> None:
    assert cpp_real(value) == literal
    with pytest.raises(ValueError, match="no constant"):
        cpp_real(float("inf"))
