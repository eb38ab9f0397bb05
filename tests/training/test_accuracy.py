"""What the cards claim, measured again on the real test data."""

from __future__ import annotations

import re

import pytest
from edgeark.errors import DataError
from edgeark.export.evaluate import evaluate_model
from edgeark.shipped import WEIGHTS_DIR
from edgeark.training.config import list_recipes, load_recipe
from edgeark.training.data import load_images
from edgeark.zoo import create_model, list_models, spec_of

TRAINED = list_models(pretrained=True)


@pytest.mark.parametrize("name", TRAINED)
def test_the_cards_figure_is_true(name: str) -> None:
    spec = spec_of(create_model(name, pretrained=True))
    try:
        load_images(spec.dataset, "test", shape=spec.input_shape[1:], sample=1)
    except DataError as error:
        pytest.skip(f"needs {spec.dataset}: {error}")
    (row,) = evaluate_model(name, "pytorch")
    assert row.metric is not None
    measured, count = row.metric.value, row.metric.n
    card = (WEIGHTS_DIR / "cards" / f"{name}.md").read_text()
    claimed = re.search(r"\*\*([\d.]+) %\*\* on the ([\d,]+) (\w+ )?test images", card)
    assert claimed is not None and count == int(claimed[2].replace(",", ""))
    assert 100 * measured == pytest.approx(float(claimed[1]), abs=0.5 * 100 / count + 0.006)
    recipes = (load_recipe(recipe) for recipe in list_recipes())
    (recipe,) = (recipe for recipe in recipes if recipe.model == name)
    assert measured >= recipe.target_metric
