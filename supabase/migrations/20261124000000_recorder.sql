-- The recorder's own: positions, gaps, quality events, health; rights for Supabase's roles where they exist.

create table if not exists store.journals (
    journal_no    integer generated always as identity primary key,
    journal_id    uuid        not null unique,
    committed_seq bigint      not null default 0,
    committed_ts  timestamptz,
    duplicates    bigint      not null default 0,
    updated_at    timestamptz not null default now()
);
comment on table store.journals is 'How far the tables are complete, per journal; moves in the same transaction as the rows.';
comment on column store.journals.journal_no is 'Short name of the journal here.';
comment on column store.journals.journal_id is 'The journal''s own id.';
comment on column store.journals.committed_seq is 'Every row caused by records up to this one is stored.';
comment on column store.journals.committed_ts is 'ts_recv of that record.';
comment on column store.journals.duplicates is 'Rows that another journal had stored first.';
comment on column store.journals.updated_at is 'When the position last moved, database time.';

create table if not exists store.stream_gaps (
    ticker     text collate "C"        not null,
    start_at   timestamptz not null,
    end_at     timestamptz,
    reason     text        not null,
    volume     bigint,
    journal_no integer     not null default 0,
    primary key (ticker, start_at)
);
create index if not exists stream_gaps_open on store.stream_gaps (ticker) where end_at is null;
comment on table store.stream_gaps is 'Spans in which nothing could be received.';
comment on column store.stream_gaps.ticker is 'Symbol.';
comment on column store.stream_gaps.start_at is 'The last record before it.';
comment on column store.stream_gaps.end_at is 'The next image; NULL while open.';
comment on column store.stream_gaps.reason is 'late_start, process_down, socket_down, silence or journal_fault.';
comment on column store.stream_gaps.volume is 'Shares traded unseen; NULL while or because unknown.';
comment on column store.stream_gaps.journal_no is 'Which journal says so.';
create or replace view public.stream_gaps with (security_invoker = true) as
    select ticker, start_at, end_at, reason, volume, journal_no from store.stream_gaps;
comment on view public.stream_gaps is 'Spans in which nothing could be received: a gap is a row.';

create table if not exists store.quality_events (
    journal_no integer     not null,
    seq        bigint      not null,
    item       integer     not null,
    ticker     text collate "C"        not null,
    kind       text collate "C"        not null,
    timestamp  timestamptz not null,
    detail     text        not null,
    primary key (journal_no, seq, item, ticker, kind)
);
comment on table store.quality_events is 'What in the feed a reader should know of.';
comment on column store.quality_events.journal_no is 'The journal of the record.';
comment on column store.quality_events.seq is 'The record that shows it.';
comment on column store.quality_events.item is 'The index in the frame.';
comment on column store.quality_events.ticker is 'Symbol.';
comment on column store.quality_events.kind is 'volume_fell: the cumulative volume fell outside the reset time.';
comment on column store.quality_events.timestamp is 'ts_recv of the record.';
comment on column store.quality_events.detail is 'In words.';
create or replace view public.quality_events with (security_invoker = true) as
    select journal_no, seq, item, ticker, kind, timestamp, detail from store.quality_events;
comment on view public.quality_events is 'What in the feed a reader should know of.';

create or replace function public.get_streaming_health(ticker text)
    returns table (ticker text, status text, last_data_at timestamptz, data_age_seconds double precision,
                   records_last_hour bigint, error_rate_percent double precision, session_state text, open_gaps bigint)
    language sql stable security invoker set search_path = ''
as $$
    with clock as (select public.stream_now() as now),
    local as (select now, now at time zone 'America/New_York' as wall from clock),
    state as (
        select now, case when extract(isodow from wall) > 5 then 'closed'
                         when wall::time >= '09:30' and wall::time < '16:00' then 'open'
                         when wall::time >= '04:00' and wall::time < '09:30' then 'pre'
                         when wall::time >= '16:00' and wall::time < '20:00' then 'post'
                         else 'closed' end as session_state
        from local),
    newest as (select max(e.timestamp) as last_at from store.equity_data e where e.ticker = $1),
    hour as (select count(*) as rows from store.equity_data e, clock
             where e.ticker = $1 and e.timestamp > clock.now - interval '1 hour' and e.timestamp <= clock.now),
    errors as (select case when max(m.records_processed) > min(m.records_processed)
                      then 100.0 * (max(m.error_count) - min(m.error_count))
                           / (max(m.records_processed) - min(m.records_processed)) end as percent
               from store.streaming_metrics m, clock where m.timestamp > clock.now - interval '1 hour'),
    gaps as (select count(*) as open from store.stream_gaps g where g.ticker = $1 and g.end_at is null),
    age as (select extract(epoch from state.now - newest.last_at)::double precision as seconds from state, newest)
    select $1,
           case when state.session_state = 'closed' then 'closed'
                when newest.last_at is null then 'no_data'
                when gaps.open > 0 then 'gap'
                when age.seconds <= 60 or (state.session_state <> 'open' and age.seconds <= 900) then 'healthy'
                else 'stale' end,
           newest.last_at, age.seconds, hour.rows, errors.percent::double precision, state.session_state, gaps.open
    from state, newest, hour, errors, gaps, age
$$;
comment on function public.get_streaming_health(text) is
    'One row: is fresh data arriving for this ticker. session_state knows weekdays and hours, not holidays.';

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20261124000000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';

alter table store.equity_data enable row level security;
alter table store.indicators enable row level security;
alter table store.indicator_definitions enable row level security;
alter table store.option_prices enable row level security;
alter table store.streaming_metrics enable row level security;
alter table store.service_clock enable row level security;
alter table store.stream_gaps enable row level security;
alter table store.quality_events enable row level security;
alter table store.journals enable row level security;

revoke execute on function public.cleanup_old_equity_data(integer) from public;
revoke execute on function public.cleanup_old_indicators(integer) from public;
revoke execute on function public.cleanup_old_option_prices(integer) from public;
revoke execute on function public.cleanup_old_streaming_metrics(integer) from public;

-- What a view says of itself and its columns is what its table says.
do $$
declare
    col record;
begin
    for col in
        select v.relname, va.attname, pg_catalog.col_description(ta.attrelid, ta.attnum) as said
        from pg_catalog.pg_class v
        join pg_catalog.pg_class t on t.relname = v.relname and t.relnamespace = 'store'::regnamespace
        join pg_catalog.pg_attribute va on va.attrelid = v.oid and va.attnum > 0 and not va.attisdropped
        join pg_catalog.pg_attribute ta on ta.attrelid = t.oid and ta.attname = va.attname
        where v.relnamespace = 'public'::regnamespace and v.relkind = 'v'
          and v.relname in ('equity_data', 'indicators', 'option_prices', 'streaming_metrics', 'equity_data_stats',
                            'stream_gaps', 'quality_events')
    loop
        execute format('comment on column public.%I.%I is %L', col.relname, col.attname,
                       case col.attname when 'flags' then 'What to know about the row, in words with commas between; NULL: nothing.'
                       else col.said end);
    end loop;
end $$;

-- Rights decide who reads; row level security lets through who has them. Supabase's roles are served where they exist,
-- anon gets nothing; on a plain PostgreSQL grant what you like to whom you like.
do $$
declare
    name text;
    readable constant text[] := array['equity_data', 'indicators', 'option_prices', 'streaming_metrics', 'stream_gaps',
                                      'quality_events', 'service_clock', 'indicator_definitions', 'journals'];
    views constant text[] := array['equity_data', 'indicators', 'option_prices', 'streaming_metrics', 'stream_gaps',
                                   'quality_events', 'equity_data_stats'];
    role name;
begin
    foreach name in array readable loop
        execute format('drop policy if exists readable on store.%I', name);
        execute format('create policy readable on store.%I for select using (true)', name);
    end loop;
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        execute format('revoke all on all tables in schema store from %I', role);
        foreach name in array views loop
            execute format('revoke all on public.%I from %I', name, role);
            if role <> 'anon' then
                execute format('grant select on public.%I to %I', name, role);
            end if;
        end loop;
        if role <> 'anon' then
            execute format('grant usage on schema store to %I', role);
            execute format('grant select on all tables in schema store to %I', role);
            execute format('grant execute on function store.flag_names(smallint), store.schema_version(),'
                           ' public.stream_now(), public.get_streaming_health(text) to %I', role);
        end if;
        if role = 'service_role' then
            foreach name in array readable loop
                execute format('grant insert, update, delete on store.%I to service_role', name);
            end loop;
        end if;
        execute format('revoke execute on function public.refresh_equity_data_stats(),'
                       ' public.cleanup_old_equity_data(integer), public.cleanup_old_indicators(integer),'
                       ' public.cleanup_old_option_prices(integer), public.cleanup_old_streaming_metrics(integer)'
                       ' from %I', role);
        if role = 'service_role' then
            grant execute on function public.refresh_equity_data_stats(),
                public.cleanup_old_equity_data(integer), public.cleanup_old_indicators(integer),
                public.cleanup_old_option_prices(integer), public.cleanup_old_streaming_metrics(integer) to service_role;
        end if;
    end loop;
end $$;
