"""Supabase's lints: a migrated database breaks none, and each of them can be broken."""

from __future__ import annotations

from typing import Any

import pytest
from tests.migration.servers import VERSIONS, on

from alphakite.store import migrate
from alphakite.store.lint import LINTS, lint

SAFE = "alter table public.t enable row level security; create policy r on public.t for select using (true)"
TABLE = f"create table public.t (id int primary key, a text); {SAFE}"
EXPOSED = "grant select on public.t to authenticated"
DEFINER = "create function public.f() returns int language sql security definer set search_path = '' as 'select 1'"
BROKEN = {
    "unindexed_foreign_keys": f"{TABLE}; create table store_private.u (id int primary key, t int references public.t)",
    "auth_users_exposed": "create view public.t with (security_invoker = true) as select * from auth.users; " + EXPOSED,
    "auth_rls_initplan": f"{TABLE}; create policy w on public.t for update using (auth.uid() is not null)",
    "no_primary_key": f"create table public.t (a int); {SAFE}",
    "multiple_permissive_policies": f"{TABLE}; create policy s on public.t for select to authenticated using (id > 1)",
    "policy_exists_rls_disabled": f"{TABLE}; alter table public.t disable row level security",
    "rls_enabled_no_policy": f"{TABLE}; drop policy r on public.t",
    "duplicate_index": f"{TABLE}; create index i on public.t (a); create index j on public.t (a)",
    "security_definer_view": f"create view public.t as select 1 as a; {EXPOSED}",
    "function_search_path_mutable": "create function public.f() returns int language sql as 'select 1'",
    "rls_disabled_in_public": f"create table public.t (id int primary key); {EXPOSED}",
    "extension_in_public": "create extension pg_trgm schema public",
    "rls_references_user_metadata": f"{TABLE}; create policy w on public.t for update"
    " using ((select auth.jwt()) -> 'user_metadata' is not null)",
    "materialized_view_in_api": f"create materialized view public.t as select 1 as a; {EXPOSED}",
    "foreign_table_in_api": "create foreign data wrapper w; create server s foreign data wrapper w;"
    f" create foreign table public.t (a int) server s; {EXPOSED}",
    "unsupported_reg_types": f"{TABLE}; alter table public.t add column b regproc",
    "sensitive_columns_exposed": f"create table public.t (id int primary key, password text); {EXPOSED}",
    "rls_policy_always_true": f"{TABLE}; create policy w on public.t for insert with check (true)",
    "anon_security_definer_function_executable": f"{DEFINER}; grant execute on function public.f() to anon",
    "authenticated_security_definer_function_executable": DEFINER,
    "invalid_index": "update pg_index set indisvalid = false where indexrelid = 'store.stream_gaps_open'::regclass",
    "private_schema_reachable": "grant select on store_private.equity_data_default to authenticated",
}


@on(*VERSIONS)
async def test_none_is_broken(project: Any) -> None:
    """After all migrations, with days made, with anonymous readers, and without Supabase's roles."""
    await migrate.apply(project)
    await project.execute("select store.ensure_partitions('2026-11-20', '2026-11-22')")
    assert await lint(project) == []
    await project.execute("select store.allow_anon_read(true)")
    assert await lint(project) == []


@on(*VERSIONS)
async def test_none_is_broken_on_a_plain_postgresql(connection: Any) -> None:
    """Where nobody has heard of Supabase."""
    await migrate.apply(connection)
    assert await lint(connection) == []


def test_each_has_its_violation() -> None:
    """A lint that nobody has seen fail is none."""
    assert BROKEN.keys() == LINTS.keys()


@on(*VERSIONS)
async def test_each_can_fail(project: Any) -> None:
    """Each finds its violation, and names the object."""
    await migrate.apply(project)
    here = await project.fetchval("select array_agg(name) from pg_available_extensions")
    for name, sql in BROKEN.items():
        if name == "extension_in_public" and "pg_trgm" not in here:
            continue  # the package of 16 has none but plpgsql
        transaction = project.transaction()
        await transaction.start()
        await project.execute(sql)
        found = {one.name: one for one in await lint(project)}
        assert name in found, name
        assert found[name].level == LINTS[name].level
        assert found[name].object
        await transaction.rollback()
    assert await lint(project) == []


@pytest.mark.parametrize("role", ["anon", "authenticated"])
async def test_initplan_is_told_from_the_wrapped_form(project: Any, role: str) -> None:
    """(select auth.uid()) is evaluated once: no finding."""
    await migrate.apply(project)
    await project.execute(
        f"{TABLE}; create policy w on public.t for update to {role} using ((select auth.uid()) is null)"
    )
    assert [one.name for one in await lint(project)] == []
