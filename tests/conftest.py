"""What every test shares: the place of the shared data, an environment without our settings, and the order of work.

`make test` shares the tests out to several processes (pytest-xdist). A file is one piece of work, so that what its
tests have in common is made once; those of `APART` have nothing in common, and each of their tests is a piece. What
takes longest begins first: else it would be what all others wait for in the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from alphakite.setting_specs import SPECS

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")
CHECKOUT = Path(__file__).parent.parent
LONGEST = ("test_kills", "test_option_kills", "test_seven_days", "test_option_trend_day", "test_option_roll",
           "test_three_sinks", "test_outage_day", "test_outside_clients", "test_batches", "test_custom_indicators",
           "test_tickers", "test_versions", "test_sim_days", "test_following", "test_stream_faults",
           "test_kill_moments", "test_index_fallback", "test_simulator", "test_demo", "test_trimmed",
           "test_sim_option_tape", "test_sim_market", "test_sim_option_tapes", "test_database_away",
           "test_observing")  # fmt: skip
"""By name of the file, the longest first."""
APART = ("test_outside_clients", "test_option_kills", "test_stream_faults", "test_kill_moments", "test_index_fallback",
         "test_simulator", "test_sim_days", "test_following")  # fmt: skip
TOGETHER = ("contract", "migration")
"""Folders with a server of their own for all their files."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; else as they were."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def piece_of(node: str) -> str:
    """The piece of work that this test belongs to."""
    path = PurePosixPath(node.partition("::")[0])
    return node if path.stem in APART else path.parent.name if path.parent.name in TOGETHER else str(path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Whole pieces, in our order."""
    from xdist.scheduler import LoadScopeScheduling

    class Pieces(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return piece_of(nodeid)

    config.option.loadscopereorder = False
    return Pieces(config, log)


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
