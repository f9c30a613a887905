"""docs/schwab.md names tests that exist, every switch, every fault, every section, and the fields as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alphakite.feed.schwab.fields import SERVICES, SIGNED, Field, Kind
from alphakite.model import EquityUpdate
from alphakite.simulator.faults import NAMES
from alphakite.simulator.switches import SWITCHES

CERTAIN = re.compile(r"\[[WD][^]]*\]|\[[A-Z]\]\[[WD]")
"""A tag [W] or [D], alone or with others."""
TAGGED = {"1.4", "2.1", "2.2", "2.4", "2.7", "2.8", "3.1", "3.2", "3.3", "3.4", "3.6", "3.7", "3.8"}
"""Sections of the reference with a line that is tagged so."""
SECTIONS = {f"1.{n}" for n in range(1, 6)} | {f"2.{n}" for n in range(1, 10)} | {f"3.{n}" for n in range(1, 14)}
REASONS = ("not played", "sent as 0")


@pytest.fixture(scope="module")
def page(checkout: Path) -> str:
    return (checkout / "docs" / "schwab.md").read_text()


def part(page: str, title: str) -> str:
    """What stands under a heading."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names_in(text: str) -> set[str]:
    return set(re.findall(r"`(test_\w+)`", text))


def covered(page: str) -> list[tuple[str, str, str]]:
    """Section, tag, and tests or reason of each fact; a row that begins blank goes on with the one before."""
    found: list[tuple[str, str, str]] = []
    for section, tag, _fact, tests in rows(part(page, "Coverage"))[1:]:
        if section:
            found.append((section, tag, tests))
        else:
            found[-1] = (*found[-1][:2], f"{found[-1][2]} {tests}")
    return found


def test_every_test_that_is_named_exists(page: str, checkout: Path) -> None:
    texts = [path.read_text() for path in (checkout / "tests").rglob("test_*.py")]
    known = {name for text in texts for name in re.findall(r"^\s*(?:async )?def (test_\w+)\(", text, re.MULTILINE)}
    assert len(names_in(page)) > 100
    assert names_in(page) - known == set()


def test_every_fact_has_a_test_or_a_reason(page: str) -> None:
    """And each section its facts; those that are certain first, with their tag."""
    facts = covered(page)
    assert [fact for fact in facts if not names_in(fact[2]) and not fact[2].startswith(REASONS)] == []
    assert {section for section, _tag, _tests in facts} == SECTIONS
    assert {section for section, tag, _tests in facts if tag in ("W", "D")} == TAGGED
    tags = [tag for _section, tag, _tests in facts]
    assert tags == sorted(tags, key=lambda tag: not tag)


def test_the_tagged_sections_are_the_references(shared_data: Path) -> None:
    """The reference itself, where it lies beside the checkout."""
    reference = shared_data.parent / "reference" / "schwab-api.md"
    if not reference.is_file():
        pytest.skip("no reference beside the shared data")
    section, found = "", set[str]()
    for line in reference.read_text().splitlines():
        if match := re.match(r"### (\d\.\d+)", line):
            section = match[1]
        elif re.match(r"## ", line):
            section = ""
        if section and CERTAIN.search(line):
            found.add(section)
    assert found & SECTIONS == TAGGED


def test_every_switch_with_its_values(page: str) -> None:
    table = {row[0].strip("`"): row for row in rows(part(page, "What is not certain"))[1:]}
    assert list(table) == list(SWITCHES)
    for name, switch in SWITCHES.items():
        assert tuple(re.findall(r"`([^`]+)`", table[name][1])) == switch.values, name
        assert table[name][2] and table[name][3]


def test_every_fault(page: str) -> None:
    named = [re.match(r"`([a-z-]+)", row[0]) for row in rows(part(page, "Faults"))[1:]]
    assert [match[1] for match in named if match] == list(NAMES)


def absent(field: Field) -> str:
    """How the page says which numbers mean "absent"."""
    if field.kind in (Kind.TEXT, Kind.FLAG) or field.kind in SIGNED:
        return ", ".join(f"{value:g}" for value in field.absent)
    return ", ".join([*(f"{value:g}" for value in field.absent if value != -999), "negative"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_field_tables_are_the_programs(page: str, service: str) -> None:
    """Each number once, its name, and what means absent."""
    found: dict[int, tuple[str, str]] = {}
    tables = part(page, "Fields").split("\n\n")
    (table,) = [table for table in tables if table.startswith(f"| `{service}` |")]
    for fields, means in rows(table)[1:]:
        for number, name in re.findall(r"(\d+) ([a-z_0-9]*[a-z_][a-z_0-9]*)", re.sub(r"\([^)]*\)", "", fields)):
            assert int(number) not in found
            found[int(number)] = (name, means)
    assert found == {field.number: (field.name, absent(field)) for field in SERVICES[service]}


def test_the_fields_that_are_read(page: str) -> None:
    text = " ".join(part(page, "Fields").split()).partition("reads of `LEVELONE_EQUITIES`: ")[2].partition(".")[0]
    assert tuple(text.split(", ")) == EquityUpdate.__struct_fields__[1:]
