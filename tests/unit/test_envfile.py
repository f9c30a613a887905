"""The settings file: what is written reads back, and every other byte stays."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import pytest
from dotenv.parser import parse_stream
from hypothesis import given
from hypothesis import strategies as st

from alphakite import envfile

ONE_LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x85\u2028\u2029\x0b\x0c\x1c\x1d\x1e\0"))


def read_back(text: str) -> dict[str, str | None]:
    return {binding.key: binding.value for binding in parse_stream(io.StringIO(text)) if binding.key}


@given(ONE_LINE)
def test_a_value_reads_back_equal(value: str) -> None:
    text = envfile.changed("# first\nA=1\n", {"NAME": value})
    assert read_back(text) == {"A": "1", "NAME": value}


def test_every_other_byte_stays() -> None:
    before = "# what\n\nexport STREAM_TICKER = QQQ  # old\nX='a b'\n#STREAM_TICKER=no\nLAST=1"
    after = envfile.changed(before, {"STREAM_TICKER": "QQQ,SPY", "NEW": "a #b"})
    assert after == "# what\n\nSTREAM_TICKER=QQQ,SPY\nX='a b'\n#STREAM_TICKER=no\nLAST=1\nNEW='a #b'\n"


def test_the_last_of_two_lines_counts_as_it_does_when_read() -> None:
    assert read_back(envfile.changed("A=1\nA=2\n", {"A": "3"}))["A"] == "3"


def test_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        envfile.quoted("a\nb")


def test_the_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / ".env"
    real.write_text("A=1\n")
    real.chmod(0o640)
    link.symlink_to(real)
    envfile.write(link, {"A": "2"})
    assert link.is_symlink() and real.read_text() == "A=2\n" and stat.S_IMODE(real.stat().st_mode) == 0o640
    envfile.write(tmp_path / "new", {"A": "2"})
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "new", "real"]
