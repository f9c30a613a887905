-- Custom indicators: their definitions, their values, and a view that shows them beside the built-in ones.

alter table store.indicator_definitions add column if not exists output text not null default 'value';
alter table store.indicator_definitions add column if not exists version text not null default '1';
create unique index if not exists indicator_definitions_hash on store.indicator_definitions (definition_hash);
comment on column store.indicator_definitions.id is 'Named by sma9_def, vwap_def and indicator_values.definition_id; from 100 on: custom.';
comment on column store.indicator_definitions.name is 'Indicator, as in INDICATORS.';
comment on column store.indicator_definitions.definition_hash is 'md5 of what is defined, as the recorder spells it: a changed definition is a new one.';
comment on column store.indicator_definitions.output is 'Which of its outputs; value where there is only one.';
comment on column store.indicator_definitions.version is 'Of the class; with a hash of its file where that is not part of alphakite.';

create table if not exists store.indicator_values (
    timestamp     timestamptz not null,
    seq           bigint      not null default 0,
    journal_no    integer     not null default 0,
    item          integer     not null default 0,
    definition_id smallint    not null,
    flags         smallint    not null default 0,
    ticker        text collate "C" not null,
    value         numeric,
    primary key (ticker, timestamp, journal_no, seq, item, definition_id)
);
create index if not exists indicator_values_timestamp on store.indicator_values using brin (timestamp);
comment on table store.indicator_values is 'Values of custom indicators beside the indicators row of the same key; in regular hours only.';
comment on column store.indicator_values.timestamp is 'As in equity_data.';
comment on column store.indicator_values.seq is 'As in equity_data.';
comment on column store.indicator_values.journal_no is 'As in equity_data.';
comment on column store.indicator_values.item is 'As in equity_data.';
comment on column store.indicator_values.definition_id is 'Definition of the value: store.indicator_definitions.id.';
comment on column store.indicator_values.flags is 'Bit set; store.flag_names() spells it.';
comment on column store.indicator_values.ticker is 'Symbol as Schwab spells it.';
comment on column store.indicator_values.value is 'Rounded to six decimals, half to even; NULL: not enough bars, or the indicator failed.';

create or replace function store.flag_names(flags smallint) returns text
    language sql immutable parallel safe set search_path = ''
as $$
    select nullif(concat_ws(',',
        case when flags & 1 <> 0 then 'gap' end,
        case when flags & 2 <> 0 then 'gap:sma9' end,
        case when flags & 4 <> 0 then 'gap:vwap' end,
        case when flags & 8 <> 0 then 'seeded:sma9' end,
        case when flags & 16 <> 0 then 'seeded:vwap' end,
        case when flags & 32 <> 0 then 'volume_fell' end,
        case when flags & 64 <> 0 then 'no_volume_base' end,
        case when flags & 128 <> 0 then 'polled' end,
        case when flags & 256 <> 0 then 'gap:custom' end,
        case when flags & 512 <> 0 then 'seeded:custom' end,
        case when flags & 1024 <> 0 then 'fault:custom' end), '')
$$;

create or replace function store.definition_id(name text, output text, parameters jsonb, input text, session text,
                                               seed_rule text, version text, definition_hash text)
    returns smallint
    language plpgsql volatile security invoker set search_path = ''
as $$
declare
    found smallint;
begin
    select d.id into found from store.indicator_definitions d where d.definition_hash = $8;
    if found is null then
        perform pg_catalog.pg_advisory_xact_lock(4240961107126002);  -- two recorders may meet a new one together
        select d.id into found from store.indicator_definitions d where d.definition_hash = $8;
    end if;
    if found is null then
        insert into store.indicator_definitions as d
            (id, name, output, parameters, input, session, seed_rule, version, definition_hash)
        select greatest(99, max(known.id)) + 1, $1, $2, $3, $4, $5, $6, $7, $8
        from store.indicator_definitions known
        returning d.id into found;
    end if;
    return found;
end $$;
comment on function store.definition_id(text, text, jsonb, text, text, text, text, text) is
    'The id of a custom indicator''s definition, by its hash; a new one from 100 on if it was not known.';

create or replace view public.indicator_values with (security_invoker = true) as
    select v.ticker, v.timestamp, d.name, d.output, v.value,
           case when v.flags <> 0 then store.flag_names(v.flags) end as flags,
           v.definition_id, v.journal_no, v.seq, v.item
    from store.indicator_values v join store.indicator_definitions d on d.id = v.definition_id;
comment on view public.indicator_values is 'Values of custom indicators, one row for each output.';

create or replace view public.all_indicators with (security_invoker = true) as
    select i.ticker, i.timestamp, i.sma9, i.vwap, c.custom,
           case when i.flags | coalesce(c.flags, 0) <> 0 then store.flag_names((i.flags | coalesce(c.flags, 0))::smallint) end
               as flags,
           i.journal_no, i.seq, i.item
    from store.indicators i
    left join lateral (
        select pg_catalog.jsonb_object_agg(d.name || case when d.output = 'value' then '' else '.' || d.output end, v.value
                                           order by v.definition_id) as custom,
               pg_catalog.bit_or(v.flags) as flags
        from store.indicator_values v join store.indicator_definitions d on d.id = v.definition_id
        where v.ticker = i.ticker and v.timestamp = i.timestamp
          and v.journal_no = i.journal_no and v.seq = i.seq and v.item = i.item
    ) c on true;
comment on view public.all_indicators is 'sma9, vwap and the custom indicators of a second in one row.';
comment on column public.all_indicators.custom is 'Custom values by name, "macd.signal" where there are several outputs: custom->>''ema21''.';

create or replace function public.cleanup_old_indicator_values(days integer default 90) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.indicator_values where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_indicator_values(integer) is 'Removes rows older than so many days; returns how many.';

comment on column store.quality_events.item is 'The index in the frame; of an indicator_fault, which indicator.';
comment on column store.quality_events.kind is
    'volume_fell: the cumulative volume fell outside the reset time; status: the security''s status changed; indicator_fault: a custom indicator failed, once per session.';
comment on column store.stream_gaps.reason is
    'Why it began: late_start, process_down, socket_down, silence, journal_fault or unsubscribed; or why it lasts: auth_required, evicted or stopped.';
comment on column store.streaming_metrics.service_status is
    'starting, connecting, streaming, auth_required, evicted, database_away, stopping or stopped.';
comment on column store.quality_events.timestamp is 'ts_recv of the record; of an indicator_fault, the row''s.';

-- What a view says of its columns is what the table says.
do $$
declare
    col record;
begin
    for col in
        select v.relname, va.attname, said.text
        from pg_catalog.pg_class v
        join pg_catalog.pg_attribute va on va.attrelid = v.oid and va.attnum > 0 and not va.attisdropped
        join lateral (
            select pg_catalog.col_description(ta.attrelid, ta.attnum) as text
            from pg_catalog.pg_attribute ta join pg_catalog.pg_class t on t.oid = ta.attrelid
            where t.relnamespace = 'store'::regnamespace and ta.attname = va.attname
              and t.relname in ('indicator_values', 'indicators', 'indicator_definitions', 'quality_events', 'stream_gaps',
                                'streaming_metrics')
            order by t.relname = v.relname desc, t.relname = 'indicators' desc limit 1) said on true
        where v.relnamespace = 'public'::regnamespace and v.relkind = 'v'
          and v.relname in ('indicator_values', 'all_indicators', 'quality_events', 'stream_gaps', 'streaming_metrics')
          and va.attname <> 'custom'
    loop
        execute format('comment on column public.%I.%I is %L', col.relname, col.attname,
                       case col.attname when 'flags' then 'What to know about the row, in words with commas between; NULL: nothing.'
                       else col.text end);
    end loop;
end $$;

alter table store.indicator_values enable row level security;
drop policy if exists readable on store.indicator_values;
create policy readable on store.indicator_values for select using (true);
revoke execute on function public.cleanup_old_indicator_values(integer) from public;
revoke execute on function store.definition_id(text, text, jsonb, text, text, text, text, text) from public;

do $$
declare
    role name;
    view text;
begin
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        execute format('revoke all on store.indicator_values from %I', role);
        foreach view in array array['indicator_values', 'all_indicators'] loop
            execute format('revoke all on public.%I from %I', view, role);
            if role <> 'anon' then
                execute format('grant select on public.%I to %I', view, role);
            end if;
        end loop;
        execute format('revoke execute on function public.cleanup_old_indicator_values(integer),'
                       ' store.definition_id(text, text, jsonb, text, text, text, text, text) from %I', role);
        if role <> 'anon' then
            execute format('grant select on store.indicator_values to %I', role);
        end if;
        if role = 'service_role' then
            grant insert, update, delete on store.indicator_values to service_role;
            grant execute on function public.cleanup_old_indicator_values(integer),
                store.definition_id(text, text, jsonb, text, text, text, text, text) to service_role;
        end if;
    end loop;
end $$;

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20261124120000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
