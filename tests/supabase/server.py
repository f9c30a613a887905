"""A PostgREST-shaped server on a real PostgreSQL, with Supabase's gateway before it and faults on request.

Written from PostgREST's documented SQL and error map, and from Supabase's documented statuses; never compared with a
live project. A request is one transaction: BEGIN … READ WRITE (GET: READ ONLY), role and claims by set_config, one
statement. It knows what the recorder and supabase-py ask for: POST rpc/NAME with named arguments; GET and POST of
tables with select, filters, order, limit, offset, columns, on_conflict, and Prefer: return, resolution, missing, count;
PATCH and DELETE with filters. Not: embedding, `or`, JSON paths, CSV.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from aiohttp import web
from tests.supabase.misfortunes import Fault

SECRET_KEY, PUBLISHABLE_KEY = "sb_secret_of_a_test", "sb_publishable_of_a_test"
JWT_SECRET = b"the project's own secret"
MAX_ROWS = 1000
STATUSES = (
    ("23503", 409), ("23505", 409), ("25006", 405), ("21000", 500), ("22023", 400), ("53400", 500), ("57P01", 503),
    ("P0001", 400), ("42883", 404), ("42P01", 404), ("42P17", 500), ("08", 503), ("09", 500), ("0L", 403), ("0P", 403),
    ("25", 500), ("28", 403), ("2D", 500), ("38", 500), ("39", 500), ("3B", 500), ("40", 500), ("53", 503), ("54", 500),
    ("55", 500), ("57", 500), ("58", 500), ("F0", 500), ("HV", 500), ("P0", 500), ("XX", 500),
)  # fmt: skip
"""SQLSTATE's beginning → status, PostgREST's error map; 400 for all others, 42501 by itself."""
OPERATORS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "like": "like", "ilike": "ilike"}
WORDS = {"select", "order", "limit", "offset", "columns", "on_conflict"}
ARGUMENTS_SQL = """
select p.proname, coalesce(p.proargnames[1:p.pronargs], '{}') as names, p.pronargs - p.pronargdefaults as needed,
       array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, no) order by no) as types,
       p.proretset as many, t.typtype = 'c' or p.prorettype = 'record'::regtype as composite,
       p.prorettype = 'void'::regtype as nothing, p.proconfig as settings
from pg_proc p join pg_type t on t.oid = p.prorettype where p.pronamespace = 'public'::regnamespace and p.proname = $1
"""
COLUMNS_SQL = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type, coalesce(a.attnum = any(i.indkey), false) as key
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_index i on i.indrelid = c.oid and i.indisprimary
where c.relnamespace = 'public'::regnamespace and c.relname = $1 and c.relkind in ('r', 'p', 'v', 'm') order by a.attnum
"""

_SO_FAR = "coalesce(nullif(current_setting('pgrst.inserted', true), ''), '0')::int"
COUNTED = "set_config('pgrst.inserted', (" + _SO_FAR + " {})::text, true)"
"""How PostgREST tells rows that a merge inserted from those that it updated."""


def legacy_key(role: str = "service_role") -> str:
    """A key of the older kind: a JWT that says the role."""

    def part(of: object) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(of).encode()).rstrip(b"=")

    said = part({"alg": "HS256", "typ": "JWT"}) + b"." + part({"iss": "supabase", "role": role, "exp": 4_000_000_000})
    return (said + b"." + _signature(said)).decode()


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str | None, message: str, details: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.said = {"code": code, "message": message, "details": details or None, "hint": hint or None}


@dataclass
class Project:
    """A Supabase project on the loopback. `faults`: one is used up by each request it fits, in their order."""

    dsn: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    """(method, path, bytes) of all, in their order."""
    injected: list[str] = field(default_factory=list)
    max_bytes: int = 100_000_000
    """The gateway answers 413 to what is larger."""
    keys: dict[str, str] = field(
        default_factory=lambda: {
            SECRET_KEY: "service_role",
            PUBLISHABLE_KEY: "anon",
            legacy_key(): "service_role",
            legacy_key("anon"): "anon",
        }
    )
    url: str = ""
    in_flight: int = 0
    most_in_flight: int = 0
    _pool: Any = None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Project]:
        """Listens for the length of a block."""
        credentials, _, rest = self.dsn.partition("@")
        del credentials
        self._pool = await asyncpg.create_pool(
            f"postgresql://authenticator:authenticator@{rest}", min_size=1, max_size=4, statement_cache_size=0
        )
        application = web.Application(client_max_size=2**30)
        application.router.add_route("*", "/rest/v1/{rest:.*}", self._answer)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()
            self._pool.terminate()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._with_faults(request, await request.read())
        finally:
            self.in_flight -= 1

    async def _with_faults(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self.requests.append((request.method, request.path, len(body)))
        fault = self.faults.pop(0) if self.faults and self.faults[0].fits(request.path) else None
        if fault is not None:
            self.injected.append(fault.name)
        if fault is not None and fault.drop == "before":
            return _cut(request)
        if fault is not None and fault.status and not fault.after:
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        if len(body) > self.max_bytes:
            return web.Response(status=413, text="<html>413 Request Entity Too Large</html>", content_type="text/html")
        prefer = _prefer(request)
        try:
            status, headers, text = await self._serve(request, prefer, body, fault.sql if fault is not None else "")
        except Refused as refused:
            return web.json_response(refused.said, status=refused.status)
        if fault is not None and fault.drop == "after":
            return _cut(request)
        if fault is not None and fault.after:
            return web.Response(status=fault.status, body=fault.body, headers=fault.headers)
        return web.Response(status=status, text=text, headers=headers, content_type="application/json")

    def _role(self, request: web.Request) -> str:
        """Whom the gateway takes the caller for: an sb_ key is turned into a role, a JWT says its own."""
        key, bearer = request.headers.get("apikey", ""), request.headers.get("authorization", "")
        if not key:
            raise Refused(401, None, "No API key found in request", hint="No `apikey` request header was found.")
        if key not in self.keys:
            raise Refused(401, None, "Invalid API key", hint="Double check your Supabase `apikey`")
        token = bearer[7:] if bearer.lower().startswith("bearer ") else ""
        if key.startswith("sb_") and token in ("", key):
            return self.keys[key]
        if not token:
            return "anon"
        head, _, signature = token.rpartition(".")
        if not hmac.compare_digest(_signature(head.encode()).decode(), signature):
            raise Refused(401, "PGRST301", "JWSError JWSInvalidSignature")
        said = json.loads(base64.urlsafe_b64decode(head.split(".")[1] + "=="))
        return str(said["role"])

    async def _serve(
        self, request: web.Request, prefer: dict[str, str], body: bytes, sabotage: str
    ) -> tuple[int, dict[str, str], str]:
        role = self._role(request)
        profile = request.headers.get("content-profile") or request.headers.get("accept-profile") or "public"
        if profile not in ("public", "graphql_public"):
            raise Refused(406, "PGRST106", f"Invalid schema: {profile}", hint="Only the following schemas are exposed")
        name, reading = request.match_info["rest"], request.method in ("GET", "HEAD")
        try:
            async with self._pool.acquire() as connection:
                await connection.execute(f"begin isolation level read committed read {'only' if reading else 'write'}")
                try:
                    await self._pretend(connection, role, request)
                    if sabotage:
                        await connection.execute(sabotage)
                    if name.startswith("rpc/"):
                        answer = await _call(connection, name[4:], body)
                    else:
                        answer = _shaped(request, *await _table(connection, request, name, prefer, body))
                    await connection.execute("commit")
                except BaseException:
                    if not connection.is_closed():
                        await connection.execute("rollback")
                    raise
                return answer
        except asyncpg.PostgresError as error:
            code = error.sqlstate or "XX000"
            status = (403 if role != "anon" else 401) if code == "42501" else _status(code)
            raise Refused(status, code, str(error), getattr(error, "detail", "") or "", error.hint or "") from error
        except (OSError, asyncpg.InterfaceError) as error:
            raise Refused(503, "PGRST001", "Database client error. Retrying the connection.") from error

    async def _pretend(self, connection: Any, role: str, request: web.Request) -> None:
        settings = [("search_path", '"public", "extensions"'), ("role", role)]
        limits = await connection.fetchval("select rolconfig from pg_roles where rolname = $1", role)
        settings += [tuple(one.split("=", 1)) for one in limits or () if one.startswith("statement_timeout")]
        settings += [("request.jwt.claims", json.dumps({"role": role})), ("request.method", request.method)]
        sets = ", ".join(f"set_config(${2 * at + 1}, ${2 * at + 2}, true)" for at in range(len(settings)))
        await connection.execute("set local timezone = 'UTC'")
        await connection.fetch(f"select {sets}", *(one for pair in settings for one in pair))


def _cut(request: web.Request) -> web.StreamResponse:
    """The connection breaks instead of an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _signature(said: bytes) -> bytes:
    return base64.urlsafe_b64encode(hmac.new(JWT_SECRET, said, hashlib.sha256).digest()).rstrip(b"=")


def _status(code: str) -> int:
    return next((status for begins, status in STATUSES if code.startswith(begins)), 400)


def _prefer(request: web.Request) -> dict[str, str]:
    words = [word.strip() for line in request.headers.getall("prefer", []) for word in line.split(",")]
    return dict(word.split("=", 1) for word in words if "=" in word)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


async def _call(connection: Any, name: str, body: bytes) -> tuple[int, dict[str, str], str]:
    """Named arguments, taken out of the body by json_to_record as PostgREST does."""
    try:
        given = json.loads(body or b"{}")
    except ValueError as error:
        raise Refused(400, "PGRST102", "Empty or invalid json") from error
    fits = [
        one
        for one in await connection.fetch(ARGUMENTS_SQL, name)
        if set(given) <= set(one["names"]) and set(one["names"][: one["needed"]]) <= set(given)
    ]
    if not fits:
        raise Refused(
            404,
            "PGRST202",
            f"Could not find the function public.{name}({', '.join(sorted(given))}) in the schema cache",
        )
    if len(fits) > 1:
        raise Refused(300, "PGRST203", "Could not choose the best candidate function")
    (found,) = fits
    for setting in found["settings"] or ():  # db-hoisted-tx-settings
        if setting.startswith("statement_timeout="):
            await connection.execute("select set_config('statement_timeout', $1, true)", setting.partition("=")[2])
    types = dict(zip(found["names"], found["types"], strict=True))
    called = f"public.{_quoted(name)}(" + ", ".join(f"{_quoted(one)} := b.{_quoted(one)}" for one in given) + ")"
    source = ""
    if given:
        columns = ", ".join(f"{_quoted(one)} {types[one]}" for one in given)
        source = (
            f"(select $1::json as json_data) p, lateral (select * from json_to_record(p.json_data) as _({columns})) b,"
        )
    if found["composite"] or found["many"]:
        sql = f"select coalesce(json_agg(r), '[]')::text from {source} lateral {called} r"
    else:
        sql = f"select coalesce(json_agg(r.s) -> 0, 'null')::text from {source} lateral (select {called} as s) r"
    text = await connection.fetchval(sql, *([body.decode()] if given else []))
    return (204, {}, "") if found["nothing"] else (200, {}, str(text))


async def _table(
    connection: Any, request: web.Request, name: str, prefer: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], str]:
    rows = await connection.fetch(COLUMNS_SQL, name)
    if not rows:
        raise Refused(404, "PGRST205", f"Could not find the table 'public.{name}' in the schema cache")
    types = {row["name"]: row["type"] for row in rows}
    keys = [row["name"] for row in rows if row["key"]]
    table = f"public.{_quoted(name)}"
    where, values = _where(request, types, name)
    if request.method in ("GET", "HEAD"):
        return await _read(connection, request, table, prefer, where, values)
    if request.method == "POST":
        return await _insert(connection, request, table, prefer, body, types, keys)
    if request.method == "DELETE":
        changed = f"delete from {table} r{where} returning r.*"
    elif request.method == "PATCH":
        given = json.loads(body)
        sets = ", ".join(f"{_quoted(one)} = b.{_quoted(one)}" for one in given)
        columns = ", ".join(f"{_quoted(one)} {types[one]}" for one in given)
        values.append(body.decode())
        source = f"json_to_record(${len(values)}::json) as b({columns})"
        changed = f"update {table} r set {sets} from {source}{where} returning r.*"
    else:
        raise Refused(405, "PGRST117", f"Unsupported HTTP method: {request.method}")
    text = await connection.fetchval(f"with r as ({changed}) select coalesce(json_agg(r), '[]')::text from r", *values)
    return (200, {}, str(text)) if prefer.get("return") == "representation" else (204, {}, "")


def _shaped(request: web.Request, status: int, headers: dict[str, str], text: str) -> tuple[int, dict[str, str], str]:
    """One object instead of an array, for whom asks for that: single() of the clients."""
    if text and "vnd.pgrst.object" in request.headers.get("accept", ""):
        rows = json.loads(text)
        if len(rows) != 1:
            raise Refused(406, "PGRST116", "Cannot coerce the result to a single JSON object")
        text = json.dumps(rows[0])
    return status, headers, text


def _where(request: web.Request, types: dict[str, str], table: str) -> tuple[str, list[str]]:
    tests: list[str] = []
    values: list[str] = []
    for column, asked in request.query.items():
        if column in WORDS:
            continue
        if column not in types:
            raise Refused(400, "42703", f"column {table}.{column} does not exist")
        operator, _, value = asked.partition(".")
        negated, operator, value = (True, *value.partition(".")[::2]) if operator == "not" else (False, operator, value)
        if operator in OPERATORS:
            values.append(value)
            test = f"r.{_quoted(column)} {OPERATORS[operator]} ${len(values)}::text::{types[column]}"
        elif operator == "in":
            values.append("{" + value.strip("()") + "}")
            test = f"r.{_quoted(column)} = any(${len(values)}::text::{types[column]}[])"
        elif operator == "is" and value.lower() in ("null", "true", "false"):
            test = f"r.{_quoted(column)} is {value}"
        else:
            raise Refused(400, "PGRST100", f'"failed to parse filter ({asked})"')
        tests.append(f"not ({test})" if negated else test)
    return (f" where {' and '.join(tests)}" if tests else ""), values


async def _read(
    connection: Any, request: web.Request, table: str, prefer: dict[str, str], where: str, values: list[str]
) -> tuple[int, dict[str, str], str]:
    query = request.query
    columns = query.get("select", "*")
    shown = "r.*" if columns == "*" else ", ".join(f"r.{_quoted(one.strip())}" for one in columns.split(","))
    order = ", ".join(
        f"r.{_quoted(one.split('.')[0])} {'desc' if '.desc' in one else 'asc'}"
        f"{' nulls first' if 'nullsfirst' in one else ' nulls last' if 'nullslast' in one else ''}"
        for one in query.get("order", "").split(",")
        if one
    )
    limit, offset = min(int(query.get("limit", MAX_ROWS)), MAX_ROWS), int(query.get("offset", 0))
    asked = f"select {shown} from {table} r{where}{' order by ' + order if order else ''} limit {limit} offset {offset}"
    row = await connection.fetchrow(
        f"select coalesce(json_agg(x), '[]')::text as body, count(*) as n from ({asked}) x", *values
    )
    total = None
    if prefer.get("count") == "exact":
        total = await connection.fetchval(f"select count(*) from {table} r{where}", *values)
    span = f"{offset}-{offset + row['n'] - 1}" if row["n"] else "*"
    partly = total is not None and total > row["n"]
    headers = {"Content-Range": f"{span}/{'*' if total is None else total}"}
    return (206 if partly else 200), headers, row["body"]


async def _insert(
    connection: Any,
    request: web.Request,
    table: str,
    prefer: dict[str, str],
    body: bytes,
    types: dict[str, str],
    keys: list[str],
) -> tuple[int, dict[str, str], str]:
    try:
        given = json.loads(body, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError) as error:
        raise Refused(400, "PGRST102", "Empty or invalid json") from error
    rows = given if isinstance(given, list) else [given]
    if "columns" in request.query:
        names = [one.strip().strip('"') for one in request.query["columns"].split(",")]
    else:
        names = list(rows[0]) if rows else []
        if any(set(row) != set(names) for row in rows):
            raise Refused(400, "PGRST102", "All object keys must match")
    for one in names:
        if one not in types:
            raise Refused(400, "PGRST204", f"Could not find the '{one}' column in the schema cache")
    if not rows:
        return 201, {}, "[]"
    listed, typed = ", ".join(map(_quoted, names)), ", ".join(f"{_quoted(one)} {types[one]}" for one in names)
    reader = "json_to_recordset" if isinstance(given, list) else "json_to_record"
    target = [one.strip() for one in request.query.get("on_conflict", "").split(",") if one] or keys
    conflict, inserted = "", ""
    if prefer.get("resolution") == "ignore-duplicates":
        conflict = f" on conflict ({', '.join(map(_quoted, target))}) do nothing"
    elif prefer.get("resolution") == "merge-duplicates":
        sets = ", ".join(f"{_quoted(one)} = excluded.{_quoted(one)}" for one in names)
        inserted = f" where {COUNTED.format('+ 1')} <> '0'"
        conflict = f" on conflict ({', '.join(map(_quoted, target))}) do update set {sets}"
        conflict += f" where {COUNTED.format('- 1')} <> '-1'"
    echo = prefer.get("return") == "representation"
    back, body_sql = ("*", "coalesce(json_agg(r), '[]')::text") if echo else ("1", "''")
    row = await connection.fetchrow(
        f"with r as (insert into {table} ({listed}) select {listed} from {reader}($1::json) as _({typed}){inserted}"
        f"{conflict} returning {back}) select {body_sql} as body, count(*) as n,"
        " coalesce(current_setting('pgrst.inserted', true), '') as inserted from r",
        body.decode(),
    )
    status = 200 if row["inserted"] == "0" else 201  # 200: all were updates
    headers = {"Content-Range": f"*/{row['n'] if prefer.get('count') else '*'}"}
    return status, headers, row["body"]
