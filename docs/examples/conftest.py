"""For pytest: `corral_scope` beside corral_scope.py. Use it in one test, or give it `autouse=True` to have it around all of them."""

import pytest

from corral_scope import CorralScope


@pytest.fixture(scope="session")
def corral_scope():
    """All jobs that the tests submit, by whatever program, end with the session. It fails if some cannot be ended."""
    with CorralScope(name="pytest") as scope:
        yield scope
