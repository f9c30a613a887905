"""Supabase's security and performance lints that apply to a schema like ours, as SQL of our own under Supabase's names.

In:   a connection.      Out:  findings; none is what a migrated database has.
Not here, since they judge a running project and not a schema: unused_index, table_bloat, extension_versions_outdated,
unused_replication_slot, auth and storage settings. Supabase's API roles need not exist: then nobody reaches anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ERROR", "WARN", "INFO"]
API_SCHEMAS = "('public', 'graphql_public')"
"""What PostgREST and pg_graphql serve on Supabase, unless its owner changed that."""
OURS = """
n.nspname !~ '^pg_' and n.nspname not in ('information_schema', 'auth', 'cron', 'extensions', 'graphql',
    'graphql_public', 'net', 'pgbouncer', 'pgmq', 'pgsodium', 'pgsodium_masks', 'pgtle', 'realtime', 'repack',
    'storage', 'supabase_functions', 'supabase_migrations', 'tiger', 'topology', 'vault')
"""
"""Schemas that are judged: not the system's and not the platform's."""
TABLES = f"pg_class c join pg_namespace n on n.oid = c.relnamespace and {OURS}"
READABLE = """exists (select from pg_roles r where r.rolname in ('anon', 'authenticated')
    and has_table_privilege(r.oid, c.oid, 'SELECT'))"""
POLICIES = f"pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace and {OURS}"
WORDS = (
    "coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')"
)
ALWAYS = r"^\(*\s*(true|1\s*=\s*1)\s*\)*$"
SECRETS = "(password|passwd|secret|api_?key|access_token|refresh_token|ssn|cvv)"
SIGNED_IN = r"(auth\.(uid|role|jwt|email)\(\)|current_setting\()"


@dataclass(frozen=True)
class Lint:
    """A lint: how bad, and a query of the objects that break it."""

    level: Level
    sql: str


@dataclass(frozen=True)
class Finding:
    """An object that breaks a lint."""

    name: str
    level: Level
    object: str


def _executable(role: str) -> Lint:
    return Lint(
        "WARN",
        f"select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace and {OURS}"
        f" join pg_roles r on r.rolname = '{role}'"
        " where p.prosecdef and has_function_privilege(r.oid, p.oid, 'EXECUTE')",
    )


LINTS: dict[str, Lint] = {
    "unindexed_foreign_keys": Lint(
        "INFO",
        f"select c.oid::regclass || '.' || k.conname from {TABLES} join pg_constraint k on k.conrelid = c.oid"
        " where k.contype = 'f' and not exists (select from pg_index i where i.indrelid = c.oid"
        " and (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey)",
    ),
    "auth_users_exposed": Lint(
        "ERROR",
        f"select distinct c.oid::regclass::text from {TABLES} join pg_rewrite w on w.ev_class = c.oid"
        " join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid"
        f" where c.relkind in ('v', 'm') and n.nspname in {API_SCHEMAS} and d.refobjid = to_regclass('auth.users')"
        f" and {READABLE}",
    ),
    "auth_rls_initplan": Lint(
        "WARN",
        f"select c.oid::regclass || '.' || p.polname from {POLICIES}"
        f" where {WORDS} ~* '{SIGNED_IN}' and {WORDS} !~* 'select\\s+{SIGNED_IN}'",
    ),
    "no_primary_key": Lint(
        "INFO",
        f"select c.oid::regclass::text from {TABLES} where c.relkind in ('r', 'p')"
        " and not exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary)",
    ),
    "multiple_permissive_policies": Lint(
        "WARN",
        f"select c.oid::regclass || ' for ' || a.act from {POLICIES}"
        " cross join lateral unnest(case p.polcmd when '*' then array['r', 'a', 'w', 'd'] else array[p.polcmd::text]"
        " end) a (act) cross join lateral unnest(p.polroles) r (role)"
        " where p.polpermissive and c.relrowsecurity group by c.oid, a.act"
        " having count(*) filter (where r.role = 0) > 1"
        " or count(*) filter (where r.role = 0) = 1 and count(*) filter (where r.role <> 0) > 0"
        " or count(*) filter (where r.role <> 0) > count(distinct r.role) filter (where r.role <> 0)",
    ),
    "policy_exists_rls_disabled": Lint(
        "ERROR", f"select distinct c.oid::regclass::text from {POLICIES} where not c.relrowsecurity"
    ),
    "rls_enabled_no_policy": Lint(
        "INFO",
        f"select c.oid::regclass::text from {TABLES} where c.relkind in ('r', 'p') and c.relrowsecurity"
        " and not exists (select from pg_policy p where p.polrelid = c.oid)",
    ),
    "duplicate_index": Lint(
        "WARN",
        f"select c.oid::regclass || ': ' || string_agg(i.indexrelid::regclass::text, ', ' order by i.indexrelid)"
        f" from {TABLES} join pg_index i on i.indrelid = c.oid join pg_class x on x.oid = i.indexrelid"
        " group by c.oid, x.relam, i.indkey, i.indclass, i.indoption, i.indcollation,"
        " pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid) having count(*) > 1",
    ),
    "security_definer_view": Lint(
        "ERROR",
        f"select c.oid::regclass::text from {TABLES} where c.relkind = 'v' and n.nspname in {API_SCHEMAS}"
        f" and {READABLE} and not coalesce(lower(c.reloptions::text)::text[]"
        " && array['security_invoker=true', 'security_invoker=1', 'security_invoker=on', 'security_invoker=yes'],"
        " false)",
    ),
    "function_search_path_mutable": Lint(
        "WARN",
        f"select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace and {OURS}"
        " where p.prokind in ('f', 'p') and not exists (select from unnest(p.proconfig) s where s like 'search_path=%')"
        " and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid"
        " and d.deptype = 'e')",
    ),
    "rls_disabled_in_public": Lint(
        "ERROR",
        f"select c.oid::regclass::text from {TABLES} where c.relkind in ('r', 'p') and not c.relrowsecurity"
        f" and n.nspname in {API_SCHEMAS} and {READABLE}",
    ),
    "extension_in_public": Lint(
        "WARN",
        "select e.extname::text from pg_extension e join pg_namespace n on n.oid = e.extnamespace"
        " where n.nspname = 'public'",
    ),
    "rls_references_user_metadata": Lint(
        "ERROR", f"select c.oid::regclass || '.' || p.polname from {POLICIES} where {WORDS} like '%user_metadata%'"
    ),
    "materialized_view_in_api": Lint(
        "WARN",
        f"select c.oid::regclass::text from {TABLES} where c.relkind = 'm' and n.nspname in {API_SCHEMAS}"
        f" and {READABLE}",
    ),
    "foreign_table_in_api": Lint(
        "WARN",
        f"select c.oid::regclass::text from {TABLES} where c.relkind = 'f' and n.nspname in {API_SCHEMAS}"
        f" and {READABLE}",
    ),
    "unsupported_reg_types": Lint(
        "WARN",
        f"select c.oid::regclass || '.' || a.attname from {TABLES} join pg_attribute a on a.attrelid = c.oid"
        " where c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped and a.atttypid in"
        " ('regcollation'::regtype, 'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype,"
        " 'regoper'::regtype, 'regoperator'::regtype, 'regproc'::regtype, 'regprocedure'::regtype)",
    ),
    "sensitive_columns_exposed": Lint(
        "ERROR",
        f"select c.oid::regclass || '.' || a.attname from {TABLES} join pg_attribute a on a.attrelid = c.oid"
        f" where c.relkind in ('r', 'p') and not c.relrowsecurity and a.attnum > 0 and n.nspname in {API_SCHEMAS}"
        f" and {READABLE} and lower(a.attname) ~ '{SECRETS}'",
    ),
    "rls_policy_always_true": Lint(
        "WARN",
        f"select c.oid::regclass || '.' || p.polname from {POLICIES}"
        " where c.relrowsecurity and p.polpermissive and p.polcmd <> 'r'"
        f" and (pg_get_expr(p.polqual, p.polrelid) ~* '{ALWAYS}'"
        f" or pg_get_expr(p.polwithcheck, p.polrelid) ~* '{ALWAYS}')"
        " and exists (select from unnest(p.polroles) o (role) where o.role = 0 or exists (select from pg_roles r"
        " where r.oid = o.role and r.rolname in ('anon', 'authenticated')))",
    ),
    "anon_security_definer_function_executable": _executable("anon"),
    "authenticated_security_definer_function_executable": _executable("authenticated"),
    "invalid_index": Lint(
        "WARN",
        f"select i.indexrelid::regclass::text from {TABLES} join pg_index i on i.indrelid = c.oid"
        " where not i.indisvalid",
    ),
    "private_schema_reachable": Lint(
        "ERROR",
        "select r.rolname || ' on store_private' from pg_roles r join pg_namespace n on n.nspname = 'store_private'"
        " where r.rolname in ('anon', 'authenticated', 'service_role') and has_schema_privilege(r.oid, n.oid, 'USAGE')"
        f" union all select r.rolname || ' on ' || c.oid::regclass from {TABLES} join pg_roles r"
        " on r.rolname in ('anon', 'authenticated', 'service_role') and not r.rolsuper"
        " where n.nspname = 'store_private' and c.relispartition"
        " and has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')",
    ),
}
"""All but the last are Supabase's; that is ours: partitions are for nobody."""


async def lint(connection: Any) -> list[Finding]:
    """What breaks a lint, worst first; none is how it should be. Args: connection: asyncpg.Connection."""
    found = []
    async with connection.transaction(readonly=True):
        await connection.execute("set local search_path = pg_catalog")
        for name, one in LINTS.items():
            rows = await connection.fetch(one.sql)
            found += [Finding(name, one.level, str(row[0])) for row in rows]
    return sorted(found, key=lambda one: (("ERROR", "WARN", "INFO").index(one.level), one.name, one.object))
