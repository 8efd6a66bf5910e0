"""Runtime type checks of everything in mechpaint, and tiny models."""

from __future__ import annotations

import os

from tests import checked

# Before anything of mechpaint is imported: every annotated type and shape is checked while the tests run.
checked.install()

os.environ["MECHPAINT_PLUGINS"] = ""  # what is installed beside mechpaint is not what is tested

import jaxtyping  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# Machines are noisy: no test fails because it was slow, and each run tries the same examples.
settings.register_profile(
    "mechpaint",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=False,
)
settings.load_profile("mechpaint")


@pytest.hookimpl(tryfirst=True)  # before tests are selected by their marks
def pytest_collection_modifyitems(items):
    """What is looked at in a browser guards a release, unless it is slow."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()) and not item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.release)


@pytest.fixture
def as_users_run():
    """Without the type checks of the tests, which are the first to refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def llama():
    """A bridge with 6 layers."""
    from tests import tiny  # in here, for the process that hands tests to others needs no torch

    return tiny.bridge("llama")


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with a tiny Llama and a tokenizer, as save_pretrained writes it."""
    from tests import tiny

    return tiny.folder(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def speaking(folder):
    """The model of `folder`, loaded."""
    import mechpaint as mp

    return mp.load(folder)


@pytest.fixture(scope="module")
def chromium():
    """A browser, started once a module: Playwright keeps an event loop running, which other tests need for themselves.

    Tests that ask for it are skipped where there is none.
    """
    from tests.browser import started

    with started() as browser:
        yield browser
