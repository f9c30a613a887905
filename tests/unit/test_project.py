"""The project's own files: what is pinned, and what may stand in no tracked file."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REGISTRIES = ["".join(parts) for parts in (("py", "pi.org"), ("python", "hosted.org"), ("registry.", "npmjs"))]
REGISTRIES += ["".join(parts) for parts in (("deb.", "debian.org"), ("--index", "-url"), ("--find", "-links"))]
"""Joined here, so that this file does not name them either."""
MACHINE_PATH = re.compile("(?<![A-Za-z0-9_.])/" + "(?:work|farm)/")


@pytest.fixture(scope="module")
def tracked(checkout: Path) -> list[Path]:
    """The files that git knows, or would add."""
    done = subprocess.run(
        ["git", "-C", checkout, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("not a git checkout: there is no list of tracked files")
    return [checkout / name for name in done.stdout.split("\0") if name and (checkout / name).is_file()]


def test_no_tracked_file_names_a_registry_or_this_machine(tracked: list[Path]) -> None:
    """The project installs from whatever index its user has set up, in whatever folder."""
    found = []
    for path in tracked:
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path}: {name}" for name in REGISTRIES if name in text]
        found += [f"{path}: {hit.group()}" for hit in MACHINE_PATH.finditer(text)]
    assert found == []


def names(requirements: list[str]) -> set[str]:
    return {line.split("#")[0].strip() for line in requirements} - {""}


def test_run_requirements_are_those_of_the_package(checkout: Path) -> None:
    """run.in is pyproject's list and the build backend."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())
    expected = set(project["project"]["dependencies"]) | set(project["build-system"]["requires"])
    assert names((checkout / "requirements/run.in").read_text().splitlines()) == expected


@pytest.mark.parametrize("kind", ["run", "dev"])
def test_everything_is_pinned_with_its_hash(checkout: Path, kind: str) -> None:
    """Each name of the .in file is pinned in the .txt, and every pin carries hashes."""
    wanted = {
        re.split(r"[\[>=<]", line)[0].lower()
        for line in names((checkout / f"requirements/{kind}.in").read_text().splitlines())
        if not line.startswith("-c")
    }
    pins = re.split(r"\n(?=[A-Za-z])", (checkout / f"requirements/{kind}.txt").read_text())
    pinned = {pin.split("==")[0] for pin in pins if "==" in pin.splitlines()[0]}
    assert wanted <= pinned
    assert all("--hash=sha256:" in pin for pin in pins if "==" in pin.splitlines()[0])


def test_both_lists_pin_the_same_versions(checkout: Path) -> None:
    """What dev adds never changes what run runs."""
    pins = [
        dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (checkout / f"requirements/{kind}.txt").read_text(), re.MULTILINE))
        for kind in ("run", "dev")
    ]
    assert {name: pins[1].get(name, version) for name, version in pins[0].items()} == pins[0]
