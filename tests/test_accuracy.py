"""What the cards claim, measured again on the real test data."""

from __future__ import annotations

import re

import pytest
from edgeark.training.classification import evaluate, make_normalize
from edgeark.training.config import load_recipe
from edgeark.training.data import ImageSet
from edgeark.zoo import create_model, list_models, spec_of
from edgeark.zoo.weights import WEIGHTS_DIR

DIGIT_MODELS = list_models("mnist*", pretrained=True)


@pytest.mark.parametrize("name", DIGIT_MODELS)
def test_the_cards_figure_is_true(name: str, mnist_test: ImageSet) -> None:
    model = create_model(name, pretrained=True)
    measured = evaluate(model, mnist_test, make_normalize(spec_of(model)))
    card = (WEIGHTS_DIR / "cards" / f"{name}.md").read_text()
    claimed = re.search(r"\*\*([\d.]+) %\*\* on the 10,000 test pictures", card)
    assert claimed is not None and len(mnist_test) == 10_000
    assert 100 * measured == pytest.approx(float(claimed[1]), abs=0.011)
    assert measured >= load_recipe(name).target_metric
