"""What the cards claim, measured again on the real test data."""

from __future__ import annotations

import re

import pytest
from edgeark.errors import DataError
from edgeark.training.classification import evaluate, make_normalize
from edgeark.training.config import load_recipe
from edgeark.training.data import load_images
from edgeark.zoo import create_model, list_models, spec_of
from edgeark.zoo.weights import WEIGHTS_DIR

CLASSIFIERS = [
    name
    for name in list_models(pretrained=True)
    if spec_of(create_model(name)).task == "classification"
]


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_cards_figure_is_true(name: str) -> None:
    model = create_model(name, pretrained=True)
    spec = spec_of(model)
    try:
        pictures = load_images(spec.dataset, "test", shape=spec.input_shape[1:])
    except DataError as error:
        pytest.skip(f"needs {spec.dataset}: {error}")
    measured = evaluate(model, pictures, make_normalize(spec))
    card = (WEIGHTS_DIR / "cards" / f"{name}.md").read_text()
    claimed = re.search(r"\*\*([\d.]+) %\*\* on the ([\d,]+) test pictures", card)
    assert claimed is not None and len(pictures) == int(claimed[2].replace(",", ""))
    assert 100 * measured == pytest.approx(float(claimed[1]), abs=0.5 * 100 / len(pictures) + 0.006)
    assert measured >= load_recipe(name).target_metric
