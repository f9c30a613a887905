"""The recorder over https and wss, as at Schwab: the local Schwab's certificate is trusted by a setting."""

from __future__ import annotations

from pathlib import Path

from tests.harness import Recording, table, truth

TAPE = ("--session", "2026-11-20", "--start", "10:15", "--end", "10:17")


def test_a_session_over_tls_is_recorded_whole(tmp_path: Path) -> None:
    play = (*TAPE, "--tls", "--speed", "max", "--on-disconnect", "hold", "--exit-at-end")
    with Recording(tmp_path, *play) as recording:
        assert recording.ready["api_url"].startswith("https://")
        assert "SSL_CERT_FILE=" in recording.env_file.read_text()
        recording.begin()
        assert recording.simulator.wait(60) == 0
        recording.end()
        rows = [(row["timestamp"], row["price"]) for row in table(recording.data, "equity_data")]
        assert rows == [(row["timestamp"], row["price"]) for row in truth(*TAPE)]
