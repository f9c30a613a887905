"""The self-test's one question, asked of the local Schwab under CLOCK=system: is a key added again sent whole?"""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path

import pytest

from alphakite.config import load
from alphakite.journal.reader import JournalReader
from alphakite.recorder import observing
from alphakite.service import Service
from alphakite.simulator import SimulatorOptions, start


@pytest.mark.parametrize(("answer", "value"), [("image", "a fresh image"), ("nothing", "no image")])
async def test_re_add(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, value: str) -> None:
    monkeypatch.setattr(observing, "LOOK_S", 0.1)
    monkeypatch.setattr(observing, "ASK_AFTER_S", 0.5)
    options = SimulatorOptions(session=date(2026, 11, 20), token_clock="wall", switches=(f"re-add={answer}",), speed=5)
    simulator = await start(options)
    try:
        settings = load(
            environ=simulator.env() | {"CLOCK": "system", "OPTIONS": "off", "DATA_DIR": str(tmp_path / "data")}
        )
        service = Service(settings)
        running = asyncio.create_task(service.run())
        async with asyncio.timeout(60):
            while (fact := service.status.selftest.get("re_add", {})).get("state") != "settled":
                assert not running.done(), await running
                await asyncio.sleep(0.05)
        assert fact["value"] == value
        service.stop()
        assert await running == 0
    finally:
        await simulator.stop()
    records = list(JournalReader(tmp_path / "data" / "journal"))
    asked = [record for record in records if b'"event":"readd"' in record.payload]
    assert len(asked) == 1
    told = [json.loads(record.payload) for record in records if b'"event":"self_test"' in record.payload]
    assert "re_add" in [event["fact"] for event in told]
    assert (tmp_path / "data" / "run" / "selftest.json").exists()
