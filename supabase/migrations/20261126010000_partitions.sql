-- A partition a day for the tables that grow, so that what is old is dropped and not deleted; the statistics where no
-- role of the API reaches them; a switch for anonymous readers.
--
-- A day is a day of UTC: the same 24 hours on every machine and under every edition of the time zone database, as the
-- key `timestamp` is. (An exchange's day would need 23 or 25 hours twice a year. Of a session only the hour from 19:00 of
-- a New York winter falls into the next day of UTC.)
-- What was stored before is not copied: the old table becomes the partition of all days up to its newest row.

create schema if not exists store_private;
comment on schema store_private is 'Partitions of store.*, and what views read through. No role of the API may use it: query the views in public.';
revoke all on schema store_private from public;

create or replace function store.partitioned_tables() returns text[]
    language sql immutable parallel safe set search_path = ''
as $$ select array['equity_data', 'indicators', 'indicator_values', 'option_prices', 'option_images', 'streaming_metrics'] $$;
comment on function store.partitioned_tables() is 'The tables in store that have a partition a day.';

-- Take over. Each table by itself, nothing where it is done already.
do $$
declare
    one record;
    rebuilt text[];
    newest timestamptz;
    statement text;
begin
    for one in
        select t.name, t.key, format('store.%I', t.name)::regclass as old, t.name || '_before' as kept
        from (values ('equity_data', 'ticker, timestamp, journal_no, seq, item'),
                     ('indicators', 'ticker, timestamp, journal_no, seq, item'),
                     ('indicator_values', 'ticker, timestamp, journal_no, seq, item, definition_id'),
                     ('option_prices', 'option_symbol, timestamp, journal_no, seq, item'),
                     ('option_images', 'option_symbol, timestamp, journal_no, seq, item'),
                     ('streaming_metrics', 'timestamp, id')) as t (name, key)
        join pg_catalog.pg_class c on c.oid = format('store.%I', t.name)::regclass and c.relkind = 'r'
    loop
        execute format('lock table store.%I in access exclusive mode', one.name);
        -- Views know the table that is there by its number, not by its name: they are made again as they read now.
        select array_agg(distinct format('create or replace view %s with (security_invoker = true) as %s',
                                         v.oid::regclass, pg_catalog.pg_get_viewdef(v.oid)))
        into rebuilt
        from pg_catalog.pg_depend d
        join pg_catalog.pg_rewrite r on d.classid = 'pg_catalog.pg_rewrite'::regclass and r.oid = d.objid
        join pg_catalog.pg_class v on v.oid = r.ev_class and v.relkind = 'v'
        where d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = one.old;

        execute format('drop policy if exists readable on store.%I', one.name);
        execute format('alter table store.%I disable row level security', one.name);
        execute format('alter table store.%I rename to %I', one.name, one.kept);
        execute format('alter table store.%I set schema store_private', one.kept);
        if one.name = 'streaming_metrics' then
            alter table store_private.streaming_metrics_before alter column id drop identity if exists;
            alter table store_private.streaming_metrics_before drop constraint streaming_metrics_pkey;
        end if;
        execute format('create table store.%I (like store_private.%I including defaults including constraints including comments)'
                       ' partition by range (timestamp)', one.name, one.kept);
        execute format('alter table store.%I add primary key (%s)', one.name, one.key);
        execute format('comment on table store.%I is %L', one.name, pg_catalog.obj_description(one.old, 'pg_class'));
        execute format('create table store_private.%I partition of store.%I default', one.name || '_default', one.name);
        execute format('select max(timestamp) from store_private.%I', one.kept) into newest;
        if newest is not null then
            execute format('alter table store.%I attach partition store_private.%I for values from (minvalue) to (%L)',
                           one.name, one.kept, date_trunc('day', newest, 'UTC') + interval '24 hours');
            execute format('comment on table store_private.%I is %L', one.kept, 'The days before partitions.');
        end if;
        foreach statement in array coalesce(rebuilt, '{}') loop
            execute statement;
        end loop;
    end loop;
end $$;

-- What is old is found by its partition: the BRIN indexes for that go. The B-tree indexes by time that stay answer
-- "the newest rows, of whatever ticker" from the newest partition alone.
drop index if exists store.option_prices_timestamp, store.option_prices_age, store.option_images_age,
    store.indicator_values_timestamp, store.streaming_metrics_timestamp;
create index if not exists equity_data_timestamp on store.equity_data (timestamp);
create index if not exists indicators_timestamp on store.indicators (timestamp);
create index if not exists option_prices_ticker on store.option_prices (ticker, timestamp);
create index if not exists option_prices_modelled on store.option_prices (option_symbol, timestamp)
    where model_def is not null;
create index if not exists option_prices_traded on store.option_prices (ticker, timestamp)
    include (expiration_date, option_type, volume) where volume > 0;

-- Identity columns of partitioned tables are younger than PostgreSQL 15.
create sequence if not exists store.streaming_metrics_id as bigint owned by store.streaming_metrics.id;
alter table store.streaming_metrics alter column id set default pg_catalog.nextval('store.streaming_metrics_id');
select pg_catalog.setval('store.streaming_metrics_id', greatest((select max(id) from store.streaming_metrics), 1),
                         exists (select from store.streaming_metrics));
comment on sequence store.streaming_metrics_id is 'Numbers of streaming_metrics, in the order of writing.';

create or replace function store.partitions(table_name text)
    returns table (partition text, low timestamptz, high timestamptz, is_default boolean)
    language sql stable security invoker set search_path = '' set timezone = 'UTC' set datestyle = 'ISO'
as $$
    select c.relname::text,
           substring(b.bound from 'FROM \(''([^'']+)''\)')::timestamptz,
           substring(b.bound from 'TO \(''([^'']+)''\)')::timestamptz, b.bound = 'DEFAULT'
    from pg_catalog.pg_inherits i
    join pg_catalog.pg_class p on p.oid = i.inhparent and p.relname = $1
    join pg_catalog.pg_namespace n on n.oid = p.relnamespace and n.nspname = 'store'
    join pg_catalog.pg_class c on c.oid = i.inhrelid
    cross join lateral (select pg_catalog.pg_get_expr(c.relpartbound, c.oid) as bound) b
    order by 2 nulls first
$$;
comment on function store.partitions(text) is
    'The partitions, in store_private, of a table in store: from low (NULL: from ever) to before high; the default one, which takes what no other does, has neither.';

create or replace function store.partition_sizes()
    returns table (table_name text, partition text, low timestamptz, high timestamptz, bytes bigint)
    language sql stable security invoker set search_path = ''
as $$
    select t.name, p.partition, p.low, p.high, pg_catalog.pg_total_relation_size(c.oid)
    from unnest(store.partitioned_tables()) t (name)
    cross join lateral store.partitions(t.name) p
    join pg_catalog.pg_class c on c.relname = p.partition
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'store_private'
    order by p.high nulls last, t.name
$$;
comment on function store.partition_sizes() is
    'What each partition takes on disk, indexes included; oldest first, the default ones last.';

create or replace function store.ensure_partitions(first date, last date, tables text[] default null) returns integer
    language plpgsql volatile security definer set search_path = '' set lock_timeout = '1s' set timezone = 'UTC'
as $$
declare
    parent text;
    name text;
    day date;
    midnight timestamptz;
    missing integer := 0;
begin
    if first is null or last is null or not isfinite(first) or not isfinite(last) or last < first or last - first > 400 then
        raise exception 'first and last must be days, at most 400 apart' using errcode = '22023';
    end if;
    if not coalesce(tables, '{}') <@ store.partitioned_tables() then
        raise exception 'tables must be of %', store.partitioned_tables() using errcode = '22023';
    end if;
    foreach parent in array store.partitioned_tables() loop
        continue when tables is not null and parent <> all (tables);
        for day in select d::date from pg_catalog.generate_series(first::timestamp, last::timestamp, interval '1 day') d loop
            midnight := day::timestamptz;
            continue when exists (
                select from store.partitions(parent) p
                where not p.is_default and (p.low is null or p.low <= midnight) and p.high > midnight);
            name := parent || pg_catalog.to_char(day, '_YYYYMMDD');
            begin
                -- One maker at a time; and nobody may put a row of the day into the default meanwhile.
                execute pg_catalog.format('lock table only store.%I in share update exclusive mode', parent);
                execute pg_catalog.format('lock table store_private.%I in access exclusive mode', parent || '_default');
                if pg_catalog.to_regclass(pg_catalog.format('store_private.%I', name)) is null then
                    execute pg_catalog.format(
                        'create table store_private.%I (like store.%I including defaults including constraints)', name, parent);
                    execute pg_catalog.format(
                        'with moved as (delete from store_private.%I where timestamp >= %L and timestamp < %L returning *)'
                        ' insert into store_private.%I select * from moved',
                        parent || '_default', midnight, midnight + interval '24 hours', name);
                    execute pg_catalog.format(
                        'alter table store.%I attach partition store_private.%I for values from (%L) to (%L)',
                        parent, name, midnight, midnight + interval '24 hours');
                end if;
            exception when lock_not_available or deadlock_detected then
                missing := missing + 1;
            end;
        end loop;
    end loop;
    return missing;
end $$;
comment on function store.ensure_partitions(date, date, text[]) is
    'Makes the days (UTC) from first to last, of all partitioned tables or of those named; rows of them that had found their home in the default partition move. Returns how many days could not be made since somebody reads for longer than a second: their rows find their home in the default, call again later. Best a transaction of its own for each table: it locks the default partition.';

create or replace function public.recorder_days(first date, last date, tables text[] default null) returns integer
    language sql volatile security invoker set search_path = '' set statement_timeout = '50s'
as $$ select store.ensure_partitions(recorder_days.first, recorder_days.last, recorder_days.tables) $$;
comment on function public.recorder_days(date, date, text[]) is
    'store.ensure_partitions for a recorder without a connection of its own.';

create or replace function store.drop_days(table_name text, before timestamptz) returns bigint
    language plpgsql volatile security definer set search_path = '' set lock_timeout = '5s'
as $$
declare
    one record;
    rows bigint;
    removed bigint := 0;
    edge constant timestamptz := date_trunc('day', before, 'UTC');
begin
    if table_name is null or table_name <> all (store.partitioned_tables()) or before is null then
        raise exception 'table_name must be one of %, before a time', store.partitioned_tables() using errcode = '22023';
    end if;
    for one in select * from store.partitions(table_name) loop
        if one.high <= edge then
            -- One lock at once, not first the partition's and then the table's: a writer comes the other way.
            execute pg_catalog.format('lock table only store.%I in access exclusive mode', table_name);
            execute pg_catalog.format('select count(*) from store_private.%I', one.partition) into rows;
            execute pg_catalog.format('drop table store_private.%I', one.partition);
        elsif one.is_default or one.low is null then
            execute pg_catalog.format('delete from store_private.%I where timestamp < %L', one.partition, edge);
            get diagnostics rows = row_count;
        else
            rows := 0;
        end if;
        removed := removed + rows;
    end loop;
    return removed;
end $$;
comment on function store.drop_days(text, timestamptz) is
    'Removes the days (UTC) of a partitioned table that were over by then; returns how many rows that were, counted. Days are dropped, and their disk space is free at once; of the default partition and of the days before partitions rows are deleted. Fails if somebody reads the table for longer than five seconds.';

create or replace function store.too_old(days integer) returns timestamptz
    language plpgsql stable security invoker set search_path = ''
as $$
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    return public.stream_now() - pg_catalog.make_interval(days => days);
end $$;
comment on function store.too_old(integer) is 'So many days ago.';

create or replace function public.cleanup_old_equity_data(days integer default 90) returns bigint
    language sql volatile security definer set search_path = ''
as $$ select store.drop_days('equity_data', store.too_old(days)) $$;
create or replace function public.cleanup_old_indicators(days integer default 90) returns bigint
    language sql volatile security definer set search_path = ''
as $$ select store.drop_days('indicators', store.too_old(days)) $$;
create or replace function public.cleanup_old_indicator_values(days integer default 90) returns bigint
    language sql volatile security definer set search_path = ''
as $$ select store.drop_days('indicator_values', store.too_old(days)) $$;
create or replace function public.cleanup_old_option_prices(days integer default 30) returns bigint
    language sql volatile security definer set search_path = ''
as $$ select store.drop_days('option_prices', store.too_old(days)) + store.drop_days('option_images', store.too_old(days)) $$;
create or replace function public.cleanup_old_streaming_metrics(days integer default 30) returns bigint
    language sql volatile security definer set search_path = ''
as $$ select store.drop_days('streaming_metrics', store.too_old(days)) $$;

do $$
declare
    name text;
begin
    foreach name in array array['equity_data', 'indicators', 'indicator_values', 'streaming_metrics'] loop
        execute format('comment on function public.%I(integer) is %L', 'cleanup_old_' || name,
                       'Drops the days (UTC) that were over so many days ago; returns how many rows they had.');
    end loop;
end $$;
comment on function public.cleanup_old_option_prices(integer) is
    'Drops the days (UTC) that were over so many days ago, and their images, which say nothing without them; returns how many rows both had. option_contracts stay.';

-- The statistics: materialized where no role of the API can name them (a view needs the right to read, but not the one to
-- look into the schema), read through the view.
create materialized view if not exists store_private.equity_data_stats as
    select s.ticker, s.date, s.rows, s.first_at, s.last_at,
           (select e.price from store.equity_data e
            where e.ticker = s.ticker and e.timestamp = s.first_priced_at and e.price is not null
            order by e.journal_no, e.seq, e.item limit 1) as open,
           s.high, s.low,
           (select e.price from store.equity_data e
            where e.ticker = s.ticker and e.timestamp = s.last_priced_at and e.price is not null
            order by e.journal_no desc, e.seq desc, e.item desc limit 1) as close,
           s.volume,
           (select i.vwap from store.indicators i
            where i.ticker = s.ticker and i.timestamp between s.first_at and s.last_at and i.vwap is not null
            order by i.timestamp desc, i.journal_no desc, i.seq desc, i.item desc limit 1) as vwap,
           s.rows_in_gaps
    from (
        select ticker, (timestamp at time zone 'America/New_York')::date as date, count(*) as rows,
               min(timestamp) as first_at, max(timestamp) as last_at,
               min(timestamp) filter (where price is not null) as first_priced_at,
               max(timestamp) filter (where price is not null) as last_priced_at,
               max(price) as high, min(price) as low, sum(volume)::bigint as volume,
               count(*) filter (where flags & 1 <> 0) as rows_in_gaps
        from store.equity_data
        group by 1, 2
    ) s;
create unique index if not exists equity_data_stats_key on store_private.equity_data_stats (ticker, date);

create or replace view public.equity_data_stats with (security_invoker = true) as
    select ticker, date, rows, first_at, last_at, open, high, low, close, volume, vwap, rows_in_gaps
    from store_private.equity_data_stats;
comment on materialized view store_private.equity_data_stats is 'Daily statistics per ticker and exchange date; refreshed every five minutes and at the close.';
drop materialized view if exists store.equity_data_stats;

create or replace function public.refresh_equity_data_stats() returns void
    language plpgsql security definer set search_path = '' set statement_timeout = '55s'
as $$ begin refresh materialized view concurrently store_private.equity_data_stats; end $$;

-- An old table without a row is of no use.
do $$
declare
    one record;
begin
    for one in
        select c.relname from pg_catalog.pg_class c
        where c.relnamespace = 'store_private'::regnamespace and c.relkind = 'r' and not c.relispartition
          and c.relname = any (select t || '_before' from unnest(store.partitioned_tables()) t)
    loop
        execute format('drop table store_private.%I', one.relname);
    end loop;
end $$;

create or replace function store.option_span(inout low timestamptz, inout high timestamptz)
    language plpgsql stable parallel safe security invoker set search_path = '' set timezone = 'UTC' set datestyle = 'ISO'
as $$
declare
    edge constant timestamptz := (
        select max(substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([^'']+)''\)')::timestamptz)
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'store_private' and c.relname in ('option_prices_before', 'option_images_before'));
begin
    low := date_trunc('day', low, 'UTC');
    high := date_trunc('day', high, 'UTC') + interval '24 hours';
    if low < edge then
        low := '-infinity';
        high := greatest(high, edge);
    end if;
end $$;
comment on function store.option_span(timestamptz, timestamptz) is
    'The partitions of options to search for symbols, from low to before high: whole ones, so that no row in them is passed over by its time.';

-- Symbols as before by their place in the primary key, from each to the next, but only in the partitions of the days that
-- are asked about: the days (UTC) of low and of high and those between. Planned anew each time, when the days are known:
-- a plan for all partitions costs more than the search.
create or replace function store.option_chains(ticker text, since date, low timestamptz, high timestamptz)
    returns table (prefix text, expiry date)
    language plpgsql stable parallel safe security invoker set search_path = '' set plan_cache_mode = force_custom_plan rows 20
as $$
declare
    begin_at timestamptz;
    end_at timestamptz;
begin
    select s.low, s.high into begin_at, end_at from store.option_span($3, $4) s;
    return query
    with recursive root (name) as (
        select left(least((select p.option_symbol from store.option_prices p
                           where p.timestamp >= begin_at and p.timestamp < end_at
                           order by p.option_symbol limit 1),
                          (select i.option_symbol from store.option_images i
                           where i.timestamp >= begin_at and i.timestamp < end_at
                           order by i.option_symbol limit 1)), 6)
        union all
        select left(least((select p.option_symbol from store.option_prices p
                           where p.timestamp >= begin_at and p.timestamp < end_at
                             and p.option_symbol > r.name || '~'
                           order by p.option_symbol limit 1),
                          (select i.option_symbol from store.option_images i
                           where i.timestamp >= begin_at and i.timestamp < end_at
                             and i.option_symbol > r.name || '~'
                           order by i.option_symbol limit 1)), 6)
        from root r where r.name is not null
    ), chain (root, first) as (
        select r.name, (r.name || to_char($2 - 1, 'YYMMDD') || 'X') collate "C" from root r where r.name is not null
        union all
        select c.root, least((select p.option_symbol from store.option_prices p
                              where p.timestamp >= begin_at and p.timestamp < end_at
                                and p.option_symbol > left(c.first, 12) || '~' and p.option_symbol < c.root || '~'
                              order by p.option_symbol limit 1),
                             (select i.option_symbol from store.option_images i
                              where i.timestamp >= begin_at and i.timestamp < end_at
                                and i.option_symbol > left(c.first, 12) || '~' and i.option_symbol < c.root || '~'
                              order by i.option_symbol limit 1))
        from chain c where c.first is not null
    )
    select left(c.first, 12), to_date('20' || substr(c.first, 7, 6), 'YYYYMMDD')
    from chain c
    where substr(c.first, 13, 1) <> 'X'
      and $1 = coalesce((select p.ticker from store.option_prices p
                         where p.timestamp >= begin_at and p.timestamp < end_at
                           and p.option_symbol = c.first limit 1),
                        (select i.ticker from store.option_images i
                         where i.timestamp >= begin_at and i.timestamp < end_at
                           and i.option_symbol = c.first limit 1));
end $$;
comment on function store.option_chains(text, date, timestamptz, timestamptz) is
    'Root and expiry, as symbols begin with them, of a ticker''s contracts that rows or images of those days are stored of and that expire on since or later.';

create or replace function store.option_symbols(ticker text, expiry date, low timestamptz, high timestamptz)
    returns setof text
    language plpgsql stable parallel safe security invoker set search_path = '' set plan_cache_mode = force_custom_plan rows 200
as $$
declare
    begin_at timestamptz;
    end_at timestamptz;
begin
    select s.low, s.high into begin_at, end_at from store.option_span($3, $4) s;
    return query
    with recursive symbol (prefix, name) as (
        select c.prefix collate "C", c.prefix collate "C" from store.option_chains($1, $2, $3, $4) c where c.expiry = $2
        union all
        select s.prefix, least((select p.option_symbol from store.option_prices p
                                where p.timestamp >= begin_at and p.timestamp < end_at
                                  and p.option_symbol > s.name and p.option_symbol < s.prefix || '~'
                                order by p.option_symbol limit 1),
                               (select i.option_symbol from store.option_images i
                                where i.timestamp >= begin_at and i.timestamp < end_at
                                  and i.option_symbol > s.name and i.option_symbol < s.prefix || '~'
                                order by i.option_symbol limit 1))
        from symbol s where s.name is not null
    )
    select s.name from symbol s where s.name <> s.prefix;
end $$;
comment on function store.option_symbols(text, date, timestamptz, timestamptz) is
    'The contracts of a ticker and expiry that rows or images of those days are stored of.';

-- Who asked for symbols asks for those of its days.
do $$
declare
    one record;
    was text;
begin
    for one in
        select c.asking, c.span
        from (values ('store.nearest_expiry(text, timestamptz, timestamptz)'::regprocedure, '$2, $3'),
                     ('public.get_chain(text, timestamptz, date)', 'c.low, c.now'),
                     ('public.atm_straddle(text, date, date)', 'c.low, c.high')) as c (asking, span)
    loop
        was := pg_catalog.pg_get_functiondef(one.asking);
        execute replace(replace(was, 'store.option_symbols($1, c.expiry) s',
                                format('store.option_symbols($1, c.expiry, %s) s', one.span)),
                        'store.option_chains($1, ($2 at time zone ''America/New_York'')::date) k',
                        format('store.option_chains($1, ($2 at time zone ''America/New_York'')::date, %s) k', one.span));
    end loop;
end $$;
drop function if exists store.option_chains(text, date), store.option_symbols(text, date);

-- Who may what. Partitions: nobody, whatever may have been granted before. What a view says of its columns is said of
-- the materialized view too.
create or replace function store.allow_anon_read(allowed boolean) returns void
    language plpgsql volatile security invoker set search_path = ''
as $$
declare
    name text;
    views constant text[] := array['equity_data', 'indicators', 'indicator_values', 'all_indicators', 'option_prices',
        'option_images', 'option_contracts', 'option_following', 'model_definitions', 'streaming_metrics', 'stream_gaps',
        'quality_events', 'equity_data_stats'];
    -- What views and functions read with the reader's own rights.
    tables constant text[] := array['equity_data', 'indicators', 'indicator_values', 'indicator_definitions',
        'option_prices', 'option_images', 'option_contracts', 'option_following', 'model_definitions',
        'streaming_metrics', 'stream_gaps', 'quality_events', 'service_clock'];
    functions constant text := 'store.flag_names(smallint), store.option_flag_names(smallint),'
        ' store.option_span(timestamptz, timestamptz), store.option_chains(text, date, timestamptz, timestamptz),'
        ' store.option_symbols(text, date, timestamptz, timestamptz),'
        ' store.nearest_expiry(text, timestamptz, timestamptz), store.option_quote(text, timestamptz, timestamptz),'
        ' store.underlying_price(text, timestamptz)';
    change constant text := case when allowed then 'grant %s to anon' else 'revoke %s from anon' end;
begin
    if allowed is null then
        raise exception 'allowed must be true or false' using errcode = '22023';
    end if;
    if not exists (select from pg_catalog.pg_roles where rolname = 'anon') then
        return;
    end if;
    foreach name in array views loop
        execute pg_catalog.format(change, pg_catalog.format('select on public.%I', name));
    end loop;
    foreach name in array tables loop
        execute pg_catalog.format(change, pg_catalog.format('select on store.%I', name));
    end loop;
    execute pg_catalog.format(change, 'select on store_private.equity_data_stats');
    execute pg_catalog.format(change, 'usage on schema store');
    execute pg_catalog.format(change, 'execute on function ' || functions);
end $$;
comment on function store.allow_anon_read(boolean) is
    'Whether the role anon, that is everybody who knows the project''s URL, may read what authenticated may. Off unless its owner switches it on; market data may not be published.';

do $$
declare
    name text;
    role name;
    one record;
    inner_functions constant text := 'store.ensure_partitions(date, date, text[]), public.recorder_days(date, date, text[]),'
        ' store.drop_days(text, timestamptz),'
        ' public.cleanup_old_equity_data(integer), public.cleanup_old_indicators(integer),'
        ' public.cleanup_old_indicator_values(integer), public.cleanup_old_option_prices(integer),'
        ' public.cleanup_old_streaming_metrics(integer), public.refresh_equity_data_stats()';
begin
    for one in
        select a.attname, pg_catalog.col_description(v.attrelid, v.attnum) as said
        from pg_catalog.pg_attribute a
        join pg_catalog.pg_attribute v on v.attrelid = 'public.equity_data_stats'::regclass and v.attname = a.attname
        where a.attrelid = 'store_private.equity_data_stats'::regclass and a.attnum > 0
    loop
        execute format('comment on column store_private.equity_data_stats.%I is %L', one.attname, one.said);
    end loop;
    foreach name in array store.partitioned_tables() loop
        execute format('alter table store.%I enable row level security', name);
        execute format('drop policy if exists readable on store.%I', name);
        execute format('create policy readable on store.%I for select using (true)', name);
    end loop;
    execute format('revoke execute on function %s, store.allow_anon_read(boolean)'
                   ' from public', inner_functions);
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        execute format('revoke all on schema store_private from %I', role);
        execute format('revoke all on all tables in schema store_private from %I', role);
        execute format('revoke execute on function %s, store.allow_anon_read(boolean)'
                       ' from %I', inner_functions, role);
        foreach name in array store.partitioned_tables() loop
            execute format('revoke all on store.%I from %I', name, role);
            if role <> 'anon' then
                execute format('grant select on store.%I to %I', name, role);
            end if;
            if role = 'service_role' then
                execute format('grant insert, update, delete on store.%I to service_role', name);
            end if;
        end loop;
        execute format('revoke all on sequence store.streaming_metrics_id from %I', role);
        if role <> 'anon' then
            execute format('grant select on store_private.equity_data_stats to %I', role);
            execute format('grant execute on function store.partitions(text), store.partition_sizes(),'
                           ' store.option_span(timestamptz, timestamptz),'
                           ' store.partitioned_tables(), store.too_old(integer),'
                           ' store.option_chains(text, date, timestamptz, timestamptz),'
                           ' store.option_symbols(text, date, timestamptz, timestamptz) to %I', role);
        end if;
        if role = 'service_role' then
            execute format('grant execute on function %s to service_role', inner_functions);
            grant usage on sequence store.streaming_metrics_id to service_role;
        end if;
    end loop;
end $$;

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20261126010000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
notify pgrst, 'reload schema';
