"""Every rule of every target on its own examples: it fires there, and the real engine fails there.

On the other half of each example no rule fires, and the engine is right. A rule that outlives its
reason fails here.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest
import torch
from edgeark.export.graph.files import Graph
from edgeark.export.graph.network import Network
from edgeark.export.lint import Example, Finding, Rule, capture_network, check
from edgeark.export.lint.example_source import source_text
from edgeark.export.lint.examples import Which, load_examples
from edgeark.export.list_rules import list_rules, write_pages
from edgeark.export.results.compare import compare
from edgeark.export.targets import every_target, find_target
from edgeark.export.targets.base import Conversion, Target
from edgeark.export.targets.isolated import WorkerTarget
from edgeark.zoo import ModelSpec
from support.settled import SPEC, make_images, prove, settle
from support.target_base import installed_target
from support.tries import Networks, Try, try_networks
from torch import Tensor, nn
from torch.nn import functional as f

# Their rules are many views of one limit, so that several fire on an example.
OVERLAPPING = ("k210", "k210-nncase", "k210-nncase-tflite", "rknn1", "ethos-u", "tflm")


def by_rules() -> Iterator[tuple[str, Target]]:
    """A target of each set of rules: of many chips, those that differ."""
    seen = set()
    for target in every_target():
        key = (target.name, tuple((rule.name, rule.severity) for rule in target.rules()))
        if target.rules() and key not in seen:
            seen.add(key)
            yield target.full_name, target


TARGETS = dict(by_rules())


def examples_of(target: Target) -> list[tuple[Rule, Example]]:
    """Examples of its rules, but of rules that it has from another backend."""
    return [
        (rule, example)
        for rule in target.rules()
        for example in rule.examples
        if not example.chips or target.chip in example.chips
    ]


ALL_EXAMPLES = list(dict.fromkeys(e for t in TARGETS.values() for _, e in examples_of(t)))


def test_the_pages_of_docs_are_as_written_by_the_command(tmp_path: Path) -> None:
    """Else: edgeark check --list-rules --out docs/rules."""
    rules = list_rules(every_target())
    assert all(rule.examples and rule.reason and rule.fix for rule in rules)
    written = write_pages(rules, tmp_path)
    docs = Path(__file__).parents[3] / "docs" / "rules"
    assert sorted(path.name for path in written) == sorted(path.name for path in docs.iterdir())
    stale = [p.name for p in written if p.read_text() != (docs / p.name).read_text()]
    assert stale == []


def test_the_rules_in_the_tables_of_docs_exist() -> None:
    """Words in bold code, or in a row that begins with a rule's name."""
    names = {rule.name for target in every_target() for rule in target.rules()}
    words = set()
    for page in (Path(__file__).parents[3] / "docs").glob("*.md"):
        for line in page.read_text().splitlines():
            if line.startswith("|"):
                words |= set(re.findall(r"\*\*`([a-z0-9]+(?:-[a-z0-9]+)+)`\*\*", line))
                first = re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", line.split("|")[1])
                words |= set(first) if names & set(first) else set()
    assert len(words) > 20 and words - names == set()


@pytest.mark.parametrize("example", ALL_EXAMPLES[::7], ids=lambda example: example.rule)
def test_the_source_text_of_an_example_is_the_example(example: Example) -> None:
    """It runs by itself, and gives tensors of the same shapes."""
    for text, which in zip(source_text(example), ("bad", "good"), strict=True):
        names = {"torch": torch, "Tensor": Tensor, "nn": nn, "f": f}
        *definitions, last = ast.parse(text).body
        exec(compile(ast.Module(definitions, []), "text", "exec"), names)
        assert isinstance(last, ast.Expr)
        with torch.random.fork_rng(devices=[]):
            layer = eval(compile(ast.Expression(last.value), "text", "eval"), names)
        for one in (layer, getattr(example, which)):
            if isinstance(one, nn.Module):
                one.eval()
        shape = example.map_shape(which)
        results = [one(torch.zeros(1, *shape)) for one in (layer, getattr(example, which))]
        first, second = ([r] if isinstance(r, Tensor) else r for r in results)
        assert [r.shape for r in first] == [r.shape for r in second]


@functools.cache
def network_of(example: Example, which: Which) -> Network:
    return capture_network(example.network(which), example.input_shape(which))


def find(target: Target, example: Example, which: Which) -> list[Finding]:
    return check(network_of(example, which), target.rules(), target.full_name)


@pytest.mark.parametrize("name", TARGETS)
def test_every_rule_has_an_example(name: str) -> None:
    target = TARGETS[name]
    tried = {rule.name for rule, _ in examples_of(target)}
    assert [rule.name for rule in target.rules() if rule.name not in tried] == []


def test_every_example_is_of_a_rule() -> None:
    modules: dict[str, set[str]] = {}
    for target in every_target():
        for rule in target.rules():
            modules.setdefault(rule.examples_module, set()).add(rule.name)
    shared = {rule for names in modules.values() for rule in names}
    for module in modules:
        assert {example.rule for example in load_examples(module)} <= shared


@pytest.mark.parametrize("name", TARGETS)
def test_a_rule_fires_on_its_example_alone(name: str) -> None:
    target = TARGETS[name]
    wrong = []
    for rule, example in examples_of(target):
        bad, good = (find(target, example, which) for which in ("bad", "good"))
        names = {finding.rule for finding in bad}
        fires = rule.name in names and (names == {rule.name} or target.name in OVERLAPPING)
        severities = {finding.severity for finding in bad if finding.rule == rule.name}
        silent = not any(f.rule == rule.name or f.severity == "error" for f in good)
        if not (fires and severities == {rule.severity} and silent):
            wrong.append((rule.name, example.place, names, {finding.rule for finding in good}))
    assert wrong == []


def spec_of(example: Example, which: Which) -> ModelSpec:
    return replace(SPEC, input_size=example.input_shape(which)[2:])


def is_right(tried: Try, precision: str) -> bool:
    return not tried.error and tried.sqnr_db > (20 if precision == "int8" else 75)


def engine_fails(target: WorkerTarget, examples: Sequence[Example], folder: Path) -> None:
    """It refuses, answers something else, or dies."""
    folder.mkdir(exist_ok=True)
    precision = examples[0].precision
    networks = [(example.network("bad"), spec_of(example, "bad")) for example in examples]
    tried = try_networks(target, networks, folder, precision=precision)
    seen = zip(examples, tried, strict=True)
    assert [(e.rule, e.place, t) for e, t in seen if is_right(t, precision)] == []


def engine_is_right(target: Target, examples: Sequence[Example], folder: Path) -> None:
    """All of one size in one network: each is another of its outputs."""
    precision = examples[0].precision

    def size(example: Example) -> tuple[int, ...]:
        return example.input_shape("good")

    for shape, group in groupby(sorted(examples, key=size), size):
        out = folder / "x".join(map(str, shape))
        out.mkdir()
        members = list({example.good: example for example in group}.values())
        networks = Networks([example.network("good") for example in members])
        prove(target, settle(networks, spec_of(members[0], "good"), out), precision, out)


WORKERS = ("mnn", "openvino", "opencv", "opencv5", "ncnn", "litert")


def own_examples(name: str, precision: str) -> list[Example]:
    target = find_target(name)
    return [example for _, example in examples_of(target) if example.precision == precision]


def worker(name: str) -> WorkerTarget:
    target = installed_target(name)
    assert isinstance(target, WorkerTarget)
    return target


@pytest.mark.parametrize("name", WORKERS)
def test_the_engine_fails_on_bad_examples(name: str, tmp_path: Path) -> None:
    engine_fails(worker(name), own_examples(name, "float32"), tmp_path)


@pytest.mark.parametrize("name", WORKERS)
def test_the_engine_is_right_on_good_examples(name: str, tmp_path: Path) -> None:
    engine_is_right(worker(name), own_examples(name, "float32"), tmp_path)


OF_ONNXRUNTIME = own_examples("onnxruntime", "float32")
ONE_OF_A_RULE = {example.rule: example for example in OF_ONNXRUNTIME}.values()


@pytest.mark.parametrize(
    ("name", "example"),
    [*(("onnxruntime", e) for e in OF_ONNXRUNTIME), *(("web", e) for e in ONE_OF_A_RULE)],
)
def test_onnxruntime_is_wrong_on_bad_examples_alone(
    name: str, example: Example, tmp_path: Path
) -> None:
    """And so is its WebAssembly, which is made of the same sources."""
    target, seen = installed_target(name), []
    for which in ("bad", "good"):
        out = tmp_path / which
        out.mkdir()
        spec = spec_of(example, which)
        graph = Graph(example.network(which), spec, out)
        artifact = target.convert(Conversion(graph, "float32", out, out / "log.txt"))
        images = make_images(4, spec.input_shape[1:], seed=0)
        result = target.run(artifact, images, out / "log.txt")
        assert result is not None
        seen.append(compare(graph.reference(images), result.outputs).sqnr_db)
    assert seen[0] < 40 and seen[1] > 75
