"""`alphakite db lint`: what Supabase's advisors would say of the schema. Part of `alphakite db`."""

from __future__ import annotations

import asyncio
import json
import sys

from alphakite.cli.output import TextWriter, write_all
from alphakite.config import Settings
from alphakite.store.database import Database
from alphakite.store.faults import DATABASE_ERRORS, classify
from alphakite.store.lint import Finding, lint


def run(settings: Settings, *, as_json: bool) -> int:
    """1 if there are findings."""
    found = asyncio.run(_findings(settings))
    rows = [(one.level, one.name, one.object) for one in found]
    if as_json:
        findings = [{"level": level, "name": name, "object": thing} for level, name, thing in rows]
        print(json.dumps({"schema": 1, "findings": findings}))
    elif rows:
        write_all(TextWriter(sys.stdout), ("level", "lint", "object"), (), rows)
    else:
        print("no findings")
    return 1 if found else 0


async def _findings(settings: Settings) -> list[Finding]:
    database = Database(settings)
    try:
        connection = await database.connect()
        try:
            return await lint(connection)
        finally:
            await connection.close()
    except DATABASE_ERRORS as error:
        raise classify(error) from error
    finally:
        await database.close()
