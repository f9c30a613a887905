-- Metrics, statistics, health, cleaning.

create table if not exists store.service_clock (
    single  boolean primary key default true check (single),
    mode    text    not null default 'system' check (mode in ('system', 'feed')),
    last_ts timestamptz
);
comment on table store.service_clock is 'The recorder''s clock: under mode feed, stream_now() answers last_ts.';
comment on column store.service_clock.single is 'There is one row.';
comment on column store.service_clock.mode is 'The setting CLOCK of the last recorder.';
comment on column store.service_clock.last_ts is 'Its last known time.';
insert into store.service_clock (single) values (true) on conflict (single) do nothing;

create or replace function public.stream_now() returns timestamptz
    language sql stable set search_path = ''
as $$ select coalesce((select case when mode = 'feed' then last_ts end from store.service_clock), now()) $$;
comment on function public.stream_now() is 'The recorder''s now: now() in production, tape time when a tape is played.';

create table if not exists store.streaming_metrics (
    id                bigint generated always as identity primary key,
    timestamp         timestamptz not null default public.stream_now(),
    records_processed bigint      not null,
    error_count       bigint      not null,
    service_status    text        not null,
    details           jsonb       not null default '{}'
);
create index if not exists streaming_metrics_timestamp on store.streaming_metrics (timestamp);
comment on table store.streaming_metrics is 'The recorder''s counts, every ten seconds.';
comment on column store.streaming_metrics.id is 'In the order of writing.';
comment on column store.streaming_metrics.timestamp is 'stream_now() at the writing.';
comment on column store.streaming_metrics.records_processed is 'Frames derived since the journal began.';
comment on column store.streaming_metrics.error_count is 'Rejections since the journal began.';
comment on column store.streaming_metrics.service_status is 'starting, connecting, streaming, database_away, stopping or stopped.';
comment on column store.streaming_metrics.details is 'Further counts by name.';
create or replace view public.streaming_metrics with (security_invoker = true) as
    select timestamp, records_processed, error_count, service_status, details, id from store.streaming_metrics;
comment on view public.streaming_metrics is 'The recorder''s counts, every ten seconds.';

create materialized view if not exists store.equity_data_stats as
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
create unique index if not exists equity_data_stats_key on store.equity_data_stats (ticker, date);
comment on materialized view store.equity_data_stats is 'Daily statistics per ticker and exchange date; refreshed every five minutes and at the close.';
comment on column store.equity_data_stats.ticker is 'Symbol.';
comment on column store.equity_data_stats.date is 'The day in exchange time (America/New_York).';
comment on column store.equity_data_stats.rows is 'Rows of equity_data.';
comment on column store.equity_data_stats.first_at is 'Timestamp of the first row.';
comment on column store.equity_data_stats.last_at is 'Timestamp of the last row.';
comment on column store.equity_data_stats.open is 'First known price of the rows, extended hours included, USD.';
comment on column store.equity_data_stats.high is 'Highest price, USD.';
comment on column store.equity_data_stats.low is 'Lowest price, USD.';
comment on column store.equity_data_stats.close is 'Last known price, USD.';
comment on column store.equity_data_stats.volume is 'Shares traded within the rows; what gaps hide is in stream_gaps.';
comment on column store.equity_data_stats.vwap is 'The newest vwap of the day, USD.';
comment on column store.equity_data_stats.rows_in_gaps is 'Rows that lie inside a gap.';
create or replace view public.equity_data_stats with (security_invoker = true) as
    select ticker, date, rows, first_at, last_at, open, high, low, close, volume, vwap, rows_in_gaps
    from store.equity_data_stats;
comment on view public.equity_data_stats is 'Daily statistics per ticker and exchange date.';

create or replace function public.refresh_equity_data_stats() returns void
    language plpgsql security definer set search_path = ''
as $$ begin refresh materialized view concurrently store.equity_data_stats; end $$;
comment on function public.refresh_equity_data_stats() is 'Brings equity_data_stats up to date; readers are not locked out.';
revoke execute on function public.refresh_equity_data_stats() from public;

create or replace function public.cleanup_old_equity_data(days integer default 90) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.equity_data where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_equity_data(integer) is 'Removes rows older than so many days; returns how many.';

create or replace function public.cleanup_old_indicators(days integer default 90) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.indicators where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_indicators(integer) is 'Removes rows older than so many days; returns how many.';

create or replace function public.cleanup_old_option_prices(days integer default 30) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.option_prices where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_option_prices(integer) is 'Removes rows older than so many days; returns how many.';

create or replace function public.cleanup_old_streaming_metrics(days integer default 30) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.streaming_metrics where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_streaming_metrics(integer) is 'Removes rows older than so many days; returns how many.';

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20251021000000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
