"""What the bench borrows of the tests: the PostgREST-shaped server, and PgBouncer in transaction mode.

A package may leave a `tests` of its own in site-packages, as schwab-py does; it would hide the folder of this checkout.
"""

from __future__ import annotations

import importlib

from bench.child import ROOT

_found = importlib.import_module("tests")
if str(ROOT / "tests") not in list(_found.__path__):
    _found.__path__ = [str(ROOT / "tests"), *_found.__path__]

from tests import pooler  # noqa: E402
from tests.supabase import server  # noqa: E402

Project, SECRET_KEY = server.Project, server.SECRET_KEY
ROLES = ROOT / "tests" / "supabase" / "project.sql"

__all__ = ["ROLES", "SECRET_KEY", "Project", "pooler"]
