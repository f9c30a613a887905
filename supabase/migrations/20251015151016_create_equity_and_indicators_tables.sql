-- Equities and their indicators. The recorder writes store.*; people read public.*.

create schema if not exists store;
comment on schema store is 'Physical tables of alphakite. Their form may change; query the views in public.';

create table if not exists store.equity_data (
    ticker     text collate "C" not null,
    timestamp  timestamptz not null,
    price      numeric,
    volume     bigint,
    flags      smallint    not null default 0,
    journal_no integer     not null default 0,
    seq        bigint      not null default 0,
    item       integer     not null default 0,
    primary key (ticker, timestamp, journal_no, seq, item)
);
create index if not exists equity_data_timestamp on store.equity_data (timestamp);
comment on table store.equity_data is 'One row per ticker and second with an update (STREAM_RESOLUTION=tick: per update).';
comment on column store.equity_data.ticker is 'Symbol as Schwab spells it.';
comment on column store.equity_data.timestamp is 'Start of the second, UTC; under tick the receive time.';
comment on column store.equity_data.price is 'Last trade price known at the end of the second, USD, decimals as sent; NULL until a trade of this session is known.';
comment on column store.equity_data.volume is 'Shares traded within the second; 0 if none; NULL where a gap covers part of it.';
comment on column store.equity_data.flags is 'Bit set; store.flag_names() spells it.';
comment on column store.equity_data.journal_no is 'Under tick: the journal of the update, see store.journals; else 0.';
comment on column store.equity_data.seq is 'Under tick: the journal record of the update; else 0.';
comment on column store.equity_data.item is 'Under tick: the index in the frame; else 0.';

create table if not exists store.indicators (
    ticker     text collate "C" not null,
    timestamp  timestamptz not null,
    sma9       numeric,
    vwap       numeric,
    flags      smallint    not null default 0,
    journal_no integer     not null default 0,
    seq        bigint      not null default 0,
    item       integer     not null default 0,
    sma9_def   smallint    not null default 1,
    vwap_def   smallint    not null default 2,
    primary key (ticker, timestamp, journal_no, seq, item)
);
create index if not exists indicators_timestamp on store.indicators (timestamp);
comment on table store.indicators is 'Indicator values beside the equity_data row of the same key.';
comment on column store.indicators.ticker is 'Symbol as Schwab spells it.';
comment on column store.indicators.timestamp is 'As in equity_data.';
comment on column store.indicators.sma9 is 'Mean of the eight newest completed one-minute closes and the forming bar''s last price, USD; NULL outside regular hours or with fewer bars.';
comment on column store.indicators.vwap is 'Session VWAP, USD: sum(change of cumulative volume x last price) / sum(change); NULL outside regular hours.';
comment on column store.indicators.flags is 'Bit set; store.flag_names() spells it.';
comment on column store.indicators.journal_no is 'As in equity_data.';
comment on column store.indicators.seq is 'As in equity_data.';
comment on column store.indicators.item is 'As in equity_data.';
comment on column store.indicators.sma9_def is 'Definition of sma9: store.indicator_definitions.id.';
comment on column store.indicators.vwap_def is 'Definition of vwap: store.indicator_definitions.id.';

create table if not exists store.indicator_definitions (
    id         smallint primary key,
    name       text     not null,
    parameters jsonb    not null,
    input      text     not null,
    session    text     not null,
    seed_rule  text     not null,
    definition_hash text not null
);
comment on table store.indicator_definitions is 'What an indicator value means. A changed definition is a new row; old values keep theirs.';
comment on column store.indicator_definitions.id is 'Named by sma9_def and vwap_def.';
comment on column store.indicator_definitions.name is 'Indicator.';
comment on column store.indicator_definitions.parameters is 'Its parameters.';
comment on column store.indicator_definitions.input is 'What it is computed from.';
comment on column store.indicator_definitions.session is 'Which hours, and what happens between sessions.';
comment on column store.indicator_definitions.seed_rule is 'What it begins with.';
comment on column store.indicator_definitions.definition_hash is 'md5 of the columns before it: a definition that changed under its id shows.';
insert into store.indicator_definitions (id, name, parameters, input, session, seed_rule, definition_hash)
select d.id, d.name, d.parameters::jsonb, d.input, d.session, d.seed_rule,
       md5(concat_ws('|', d.name, d.parameters, d.input, d.session, d.seed_rule))
from (values
    (1::smallint, 'sma9', '{"length": 9}', 'one-minute closes from last prices, the forming bar included', 'regular, carried over', 'pricehistory candles of regular minutes'),
    (2::smallint, 'vwap', '{}', 'change of cumulative volume x last price', 'regular, anew each session', 'pricehistory candles, typical price x volume')
) as d (id, name, parameters, input, session, seed_rule)
on conflict (id) do nothing;

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
        case when flags & 64 <> 0 then 'no_volume_base' end), '')
$$;
comment on function store.flag_names(smallint) is 'A row''s flags as words, comma-joined; NULL for a clean row.';

create or replace view public.equity_data with (security_invoker = true) as
    select ticker, timestamp, price, volume, case when flags <> 0 then store.flag_names(flags) end as flags, journal_no, seq, item
    from store.equity_data;
comment on view public.equity_data is 'Prices and volumes by second.';

create or replace view public.indicators with (security_invoker = true) as
    select ticker, timestamp, sma9, vwap, case when flags <> 0 then store.flag_names(flags) end as flags, journal_no, seq, item
    from store.indicators;
comment on view public.indicators is 'SMA9 and session VWAP by second.';

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20251015151016' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
