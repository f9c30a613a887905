"""What every test shares: the place of the shared data, and an environment that names none of our settings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from alphakite.config import SPECS

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
CHECKOUT = Path(__file__).parent.parent


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside() -> Iterator[None]:
    """A developer's own settings never reach a test: it might write into a real database."""
    kept = {name: os.environ.pop(name) for name in SPECS if name in os.environ}
    yield
    os.environ.update(kept)


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of the project."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real tapes and goldens: ALPHAKITE_SHARED_DATA, else `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("ALPHAKITE_SHARED_DATA") or CHECKOUT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set ALPHAKITE_SHARED_DATA to run this test")
    return folder
