from __future__ import annotations

import pytest

from tests.mechpaint.finetuning import made_up


@pytest.fixture(scope="session")
def encoder():
    """A tiny BERT that reads words."""
    return made_up.encoder()


@pytest.fixture(scope="session")
def decoder():
    """A tiny Llama that reads words."""
    return made_up.reader("llama")


@pytest.fixture(scope="session")
def opinions():
    """Sentences that praise or do not."""
    return made_up.labelled(made_up.opinions(200), made_up.ONE)
