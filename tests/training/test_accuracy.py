"""What the cards claim, measured again on the real test data."""

from __future__ import annotations

import math
import re

import pytest
from edgeark.core.catalog import WEIGHTS_DIR
from edgeark.errors import DataError
from edgeark.export.evaluate import evaluate_model
from edgeark.training.config import list_recipes, load_recipe
from edgeark.training.data import load_images
from edgeark.zoo import create_model, list_models, spec_of

TRAINED = list_models(pretrained=True)
# Of these a draw of the test images is measured, an equal share of each class: all take minutes,
# and ``edgeark eval NAME`` measures them.
DRAWN = {"vgg_kpu": 500, "vgg_s": 1000, "unet_8": 40, "unet_16": 40}


@pytest.mark.parametrize("name", TRAINED)
def test_the_cards_figure_is_true(name: str) -> None:
    spec = spec_of(create_model(name, pretrained=True))
    try:
        load_images(spec.dataset, "test", shape=spec.input_shape[1:], sample=1)
    except DataError as error:
        pytest.skip(f"needs {spec.dataset}: {error}")
    (row,) = evaluate_model(name, "pytorch", limit=DRAWN.get(name))
    assert row.metric is not None
    measured, count = row.metric.value, row.metric.n
    card = (WEIGHTS_DIR / "cards" / f"{name}.md").read_text()
    claimed = re.search(r"\*\*([\d.]+) %\*\* on the ([\d,]+) (\w+ )?test images", card)
    assert claimed is not None
    stated, total = float(claimed[1]) / 100, int(claimed[2].replace(",", ""))
    recipes = (load_recipe(recipe) for recipe in list_recipes())
    (recipe,) = (recipe for recipe in recipes if recipe.model == name)
    assert stated >= recipe.target_metric
    if name in DRAWN:
        assert 0 < count <= DRAWN[name]  # segmentation counts the marked images
        deviation = 0.5 / math.sqrt(count)  # at most, of a mean of values in 0..1
        assert measured == pytest.approx(stated, abs=3 * deviation)
    else:
        assert count == total
        assert measured == pytest.approx(stated, abs=0.5 / count + 6e-5)
