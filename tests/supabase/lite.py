"""@supabase/lite, Supabase's own small PostgREST, on a test's database."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from tests.supabase.programs import CLIENTS
from tests.supabase.server import PUBLISHABLE_KEY, SECRET_KEY

STARTS_WITHIN_S = 60.0


@contextlib.asynccontextmanager
async def lite(dsn: str) -> AsyncIterator[str]:
    """Its address, for the length of a block. It takes the same two keys as our project."""
    process = await asyncio.create_subprocess_exec(
        "node", str(Path(__file__).with_name("lite.mjs")), str(CLIENTS), SECRET_KEY, PUBLISHABLE_KEY,
        env={"PATH": os.environ["PATH"], "PGURL": dsn, "DO_NOT_TRACK": "1"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = (await asyncio.wait_for(process.stdout.readline(), STARTS_WITHIN_S)).decode().strip()
        assert address.startswith("http://127.0.0.1:"), "it did not start"
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
