-- The option chain: our own greeks beside Schwab's, images, definitions, what was followed, and questions about them.

alter table store.option_prices
    add column if not exists iv_model      numeric,
    add column if not exists delta_model   numeric,
    add column if not exists gamma_model   numeric,
    add column if not exists theta_model   numeric,
    add column if not exists vega_model    numeric,
    add column if not exists rho_model     numeric,
    add column if not exists iv_half_width numeric,
    add column if not exists forward       numeric,
    add column if not exists model_reason  text collate "C",
    add column if not exists model_def     smallint,
    add column if not exists journal_no    integer not null default 0,
    add column if not exists seq           bigint  not null default 0,
    add column if not exists item          integer not null default 0;

do $$
begin
    if (select pg_catalog.cardinality(conkey) from pg_catalog.pg_constraint
        where conrelid = 'store.option_prices'::regclass and contype = 'p') is distinct from 5 then
        alter table store.option_prices drop constraint if exists option_prices_pkey;
        alter table store.option_prices add primary key (option_symbol, timestamp, journal_no, seq, item);
    end if;
end $$;
-- Rows come in the order of time: a BRIN index finds what is old, and costs a row nothing.
drop index if exists store.option_prices_timestamp;
create index if not exists option_prices_age on store.option_prices using brin (timestamp);
create index if not exists option_prices_ticker on store.option_prices (ticker, timestamp);
create index if not exists option_prices_modelled on store.option_prices (option_symbol, timestamp)
    where model_def is not null;
create index if not exists option_prices_traded on store.option_prices (ticker, timestamp)
    include (expiration_date, option_type, volume) where volume > 0;

create table if not exists store.option_images (
    ticker             text collate "C" not null,
    timestamp          timestamptz      not null,
    option_type        text             not null check (option_type in ('CALL', 'PUT')),
    strike_price       numeric          not null,
    expiration_date    date             not null,
    bid                numeric,
    ask                numeric,
    last               numeric,
    bid_size           integer,
    ask_size           integer,
    volume             bigint,
    day_volume         bigint,
    open_interest      bigint,
    implied_volatility numeric,
    delta              numeric,
    gamma              numeric,
    theta              numeric,
    vega               numeric,
    rho                numeric,
    option_symbol      text collate "C" not null,
    flags              smallint         not null default 0,
    journal_no         integer          not null default 0,
    seq                bigint           not null default 0,
    item               integer          not null default 0,
    primary key (option_symbol, timestamp, journal_no, seq, item)
);
create index if not exists option_images_age on store.option_images using brin (timestamp);

create table if not exists store.option_contracts (
    option_symbol    text collate "C" not null,
    valid_from       timestamptz      not null,
    ticker           text collate "C" not null,
    root             text collate "C" not null,
    option_type      text             not null check (option_type in ('CALL', 'PUT')),
    strike_price     numeric          not null,
    expiration_date  date             not null,
    settlement_type  text,
    exercise_type    text,
    expiration_type  text,
    multiplier       integer,
    mini             boolean          not null,
    adjusted         boolean          not null,
    last_trading_day timestamptz,
    journal_no       integer          not null default 0,
    primary key (option_symbol, valid_from)
);
create index if not exists option_contracts_ticker on store.option_contracts (ticker, expiration_date);

create table if not exists store.option_following (
    journal_no integer          not null,
    seq        bigint           not null,
    item       integer          not null,
    ticker     text collate "C" not null,
    timestamp  timestamptz      not null,
    reason     text collate "C" not null,
    expiries   date[]           not null,
    added      text[]           not null,
    removed    text[]           not null,
    detail     text             not null,
    primary key (journal_no, seq, item)
);
create index if not exists option_following_ticker on store.option_following (ticker, timestamp);

create table if not exists store.model_definitions (
    id              smallint         primary key,
    convention      text             not null,
    clock           text             not null,
    rate            numeric          not null,
    dividend        numeric          not null,
    definition_hash text collate "C" not null unique
);

create or replace function store.model_definition_id(convention text, clock text, rate numeric, dividend numeric,
                                                     definition_hash text)
    returns smallint
    language plpgsql volatile security invoker set search_path = ''
as $$
declare
    found smallint;
begin
    select d.id into found from store.model_definitions d where d.definition_hash = $5;
    if found is null then
        perform pg_catalog.pg_advisory_xact_lock(4240961107126003);  -- two recorders may meet a new one together
        select d.id into found from store.model_definitions d where d.definition_hash = $5;
    end if;
    if found is null then
        insert into store.model_definitions as d (id, convention, clock, rate, dividend, definition_hash)
        select coalesce(max(known.id), 0) + 1, $1, $2, $3, $4, $5 from store.model_definitions known
        returning d.id into found;
    end if;
    return found;
end $$;
comment on function store.model_definition_id(text, text, numeric, numeric, text) is
    'The id of a definition of model values, by its hash; a new one if it was not known.';

create or replace function store.option_flag_names(flags smallint) returns text
    language sql immutable parallel safe set search_path = ''
as $$
    select nullif(concat_ws(',',
        case when flags & 1 <> 0 then 'gap' end,
        case when flags & 2 <> 0 then 'crossed' end,
        case when flags & 4 <> 0 then 'below_intrinsic' end,
        case when flags & 8 <> 0 then 'above_maximum' end,
        case when flags & 16 <> 0 then 'parity' end,
        case when flags & 32 <> 0 then 'volume_fell' end,
        case when flags & 64 <> 0 then 'no_volume_base' end,
        case when flags & 128 <> 0 then 'frozen' end,
        case when flags & 256 <> 0 then 'absent:quote' end,
        case when flags & 512 <> 0 then 'absent:iv' end,
        case when flags & 1024 <> 0 then 'absent:greeks' end,
        case when flags & 2048 <> 0 then 'model:spot' end), '')
$$;
comment on function store.option_flag_names(smallint) is 'The flags of an option''s row in words, with commas between; NULL: none.';

create or replace view public.option_prices with (security_invoker = true) as
    select ticker, timestamp, option_type, strike_price, expiration_date, bid, ask, last, bid_size, ask_size, volume,
           day_volume, open_interest, implied_volatility, delta, gamma, theta, vega, rho, option_symbol,
           case when flags <> 0 then store.option_flag_names(flags) end as flags,
           iv_model, delta_model, gamma_model, theta_model, vega_model, rho_model, iv_half_width, forward, model_reason,
           model_def, journal_no, seq, item
    from store.option_prices;
comment on view public.option_prices is 'Option quotes, Schwab''s greeks and ours, by contract and second.';
create or replace view public.option_images with (security_invoker = true) as
    select ticker, timestamp, option_type, strike_price, expiration_date, bid, ask, last, bid_size, ask_size, volume,
           day_volume, open_interest, implied_volatility, delta, gamma, theta, vega, rho, option_symbol,
           case when flags <> 0 then store.option_flag_names(flags) end as flags, journal_no, seq, item
    from store.option_images;
comment on view public.option_images is 'What a contract''s first message of each connection said; it makes no row of option_prices.';
create or replace view public.option_contracts with (security_invoker = true) as
    select option_symbol, valid_from, ticker, root, option_type, strike_price, expiration_date, settlement_type,
           exercise_type, expiration_type, multiplier, mini, adjusted, last_trading_day, journal_no
    from store.option_contracts;
comment on view public.option_contracts is 'What each contract is, from when on, as Schwab''s chain defined it.';
create or replace view public.option_following with (security_invoker = true) as
    select ticker, timestamp, reason, expiries, added, removed, detail, journal_no, seq, item
    from store.option_following;
comment on view public.option_following is 'What changed in the contracts that are watched, and why.';
create or replace view public.model_definitions with (security_invoker = true) as
    select id, convention, clock, rate, dividend, definition_hash from store.model_definitions;
comment on view public.model_definitions is 'How model values were made: option_prices.model_def names one.';

comment on table store.option_prices is 'Option quotes by contract and second: a row where a column changed in it.';
comment on column store.option_prices.timestamp is 'Start of the second, UTC; of an update under OPTION_RESOLUTION=tick, when it was received.';
comment on column store.option_prices.strike_price is 'Strike, USD (index points for an index).';
comment on column store.option_prices.expiration_date is 'The day in exchange time on which it expires.';
comment on column store.option_prices.bid is 'Best bid, USD a share, exactly as Schwab sent it; 0 is a value, NULL is unknown.';
comment on column store.option_prices.ask is 'Best ask, USD a share, exactly as Schwab sent it; NULL is unknown.';
comment on column store.option_prices.last is 'Last trade, USD a share, exactly as Schwab sent it: the newest there is, perhaps of another day.';
comment on column store.option_prices.volume is 'Contracts traded within the second; NULL in a gap and before a base is known.';
comment on column store.option_prices.day_volume is 'Schwab''s cumulative volume since 03:30 exchange time, contracts.';
comment on column store.option_prices.open_interest is 'Open contracts of the morning.';
comment on column store.option_prices.implied_volatility is 'Schwab''s, as a fraction: 0.18 is 18 percent. Up to 10 decimals: its percentage to 8.';
comment on column store.option_prices.delta is 'Schwab''s, per USD of the underlying; up to 8 decimals.';
comment on column store.option_prices.gamma is 'Schwab''s, change of delta per USD; up to 8 decimals.';
comment on column store.option_prices.theta is 'Schwab''s, USD a day; up to 8 decimals.';
comment on column store.option_prices.vega is 'Schwab''s, USD per point of volatility; up to 8 decimals.';
comment on column store.option_prices.rho is 'Schwab''s, USD per point of interest; up to 8 decimals.';
comment on column store.option_prices.flags is 'Bit set; store.option_flag_names() spells it.';
comment on column store.option_prices.iv_model is 'Ours, as a fraction, 8 decimals; from the mid and the chain''s own forward. NULL: see model_reason, or not computed for this row.';
comment on column store.option_prices.delta_model is 'Ours, per USD of the spot that the forward implies; 8 decimals.';
comment on column store.option_prices.gamma_model is 'Ours, change of delta per USD; 8 decimals.';
comment on column store.option_prices.theta_model is 'Ours, USD per calendar day; 8 decimals.';
comment on column store.option_prices.vega_model is 'Ours, USD per point of volatility; 8 decimals.';
comment on column store.option_prices.rho_model is 'Ours, USD per point of interest; 8 decimals.';
comment on column store.option_prices.iv_half_width is 'How far the quotes leave iv_model open, either way, as a fraction; 8 decimals.';
comment on column store.option_prices.forward is 'The chain''s forward at the end of the second, USD; 8 decimals. Of put-call parity, of the spot under the flag model:spot.';
comment on column store.option_prices.model_reason is 'Why there are no model values: no_bid, below_intrinsic, stale_underlying, …; NULL where there are, or none were computed.';
comment on column store.option_prices.model_def is 'How the model values were made: model_definitions.id. NULL: not computed for this row (GREEKS_INTERVAL).';
comment on column store.option_prices.journal_no is '0 for a second; under tick, the journal of the update.';
comment on column store.option_prices.seq is '0 for a second; under tick, its record.';
comment on column store.option_prices.item is '0 for a second; under tick, its index in the frame.';
comment on table store.option_images is 'What a contract''s first message of each connection said: where it stood before its rows.';
comment on column store.option_images.timestamp is 'When it was received, UTC.';
comment on column store.option_images.volume is 'NULL: an image says nothing of a second.';
comment on column store.option_images.journal_no is 'The journal of the image.';
comment on column store.option_images.seq is 'Its record.';
comment on column store.option_images.item is 'Its index in the frame.';
comment on table store.option_contracts is 'Definitions of contracts, point in time: a row where Schwab''s chain said something new of one. Kept for good.';
comment on column store.option_contracts.valid_from is 'When we learned of it, UTC; it holds until the next row of the contract.';
comment on column store.option_contracts.root is 'Root of the symbol: SPX and SPXW differ in settlement.';
comment on column store.option_contracts.settlement_type is 'A at the opening, P at the close; empty: not said.';
comment on column store.option_contracts.exercise_type is 'A American, E European; empty: not said.';
comment on column store.option_contracts.expiration_type is 'W weekly, S monthly, M month end, Q quarterly; empty: not said.';
comment on column store.option_contracts.multiplier is 'Shares a contract; NULL: not said.';
comment on column store.option_contracts.mini is 'It is a mini contract.';
comment on column store.option_contracts.adjusted is 'It delivers something else than its multiplier of shares.';
comment on column store.option_contracts.last_trading_day is 'The instant that Schwab names as its last trading day; NULL: not said.';
comment on column store.option_contracts.journal_no is 'Which journal says so.';
comment on table store.option_following is 'Changes of what is watched, and why.';
comment on column store.option_following.journal_no is 'The journal of the record.';
comment on column store.option_following.seq is 'The record that says so.';
comment on column store.option_following.item is 'Which of its changes.';
comment on column store.option_following.timestamp is 'ts_recv of the record.';
comment on column store.option_following.reason is 'started, rolled, recentred, listed, capped, staged, waiting, ended, or refused: Schwab does not serve those removed.';
comment on column store.option_following.expiries is 'The expiries that are watched from here on.';
comment on column store.option_following.added is 'Option symbols.';
comment on column store.option_following.removed is 'Option symbols.';
comment on column store.option_following.detail is 'In words.';
comment on table store.model_definitions is 'How model values were made.';
comment on column store.model_definitions.id is 'Named by option_prices.model_def.';
comment on column store.model_definitions.convention is 'GREEKS_CONVENTION: model, schwab or cboe.';
comment on column store.model_definitions.clock is 'How time to expiry was counted.';
comment on column store.model_definitions.rate is 'Interest, continuous per year, as a fraction.';
comment on column store.model_definitions.dividend is 'Dividend yield, continuous per year, as a fraction.';
comment on column store.model_definitions.definition_hash is 'md5 of what is defined, as the recorder spells it: a changed definition is a new one.';

comment on column store.stream_gaps.ticker is 'Symbol; of an option its contract symbol.';
comment on column store.stream_gaps.volume is 'Shares (contracts of an option) traded unseen; NULL while or because unknown.';
comment on column store.quality_events.ticker is 'Symbol; of an option its contract symbol.';
comment on column store.quality_events.kind is
    'volume_fell: the cumulative volume fell outside the reset time; status: the security''s status changed; indicator_fault: a custom indicator failed, once per session; greeks_divergence: Schwab''s volatility lies outside ours on every clock for more than two minutes; greeks_frozen: Schwab''s greeks stand still while the quote moves.';

-- What a view, or a table of the same columns, says of them is what the table says.
do $$
declare
    col record;
begin
    for col in
        select c.oid::regclass as name, a.attname, said.text
        from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        join lateral (
            select pg_catalog.col_description(ta.attrelid, ta.attnum) as text
            from pg_catalog.pg_attribute ta join pg_catalog.pg_class t on t.oid = ta.attrelid
            where t.relnamespace = 'store'::regnamespace and ta.attname = a.attname
              and t.relname in (c.relname, 'option_prices') and pg_catalog.col_description(ta.attrelid, ta.attnum) is not null
            order by t.relname = c.relname desc limit 1) said on true
        where c.relnamespace = 'public'::regnamespace and c.relkind = 'v'
          and c.relname in ('option_prices', 'option_images', 'option_contracts', 'option_following', 'model_definitions',
                            'stream_gaps', 'quality_events')
           or c.relnamespace = 'store'::regnamespace and c.relkind = 'r'
              and c.relname in ('option_images', 'option_contracts', 'option_following')
              and pg_catalog.col_description(c.oid, a.attnum) is null
    loop
        execute format('comment on column %s.%I is %L', col.name, col.attname,
                       case when col.attname = 'flags' and col.name::text not like 'store.%'
                       then 'What to know about the row, in words with commas between; NULL: nothing.'
                       else col.text end);
    end loop;
end $$;

-- Symbols by their place in the primary key, which begins with them: from each to the next, never row by row. "~" comes
-- after all that a symbol has.
create or replace function store.option_chains(ticker text, since date) returns table (prefix text, expiry date)
    language sql stable parallel safe security invoker set search_path = '' rows 20
as $$
    with recursive root (name) as (
        select left(least((select p.option_symbol from store.option_prices p order by p.option_symbol limit 1),
                          (select i.option_symbol from store.option_images i order by i.option_symbol limit 1)), 6)
        union all
        select left(least((select p.option_symbol from store.option_prices p where p.option_symbol > r.name || '~'
                           order by p.option_symbol limit 1),
                          (select i.option_symbol from store.option_images i where i.option_symbol > r.name || '~'
                           order by i.option_symbol limit 1)), 6)
        from root r where r.name is not null
    ), chain (root, first) as (
        select r.name, (r.name || to_char($2 - 1, 'YYMMDD') || 'X') collate "C" from root r where r.name is not null
        union all
        select c.root, least((select p.option_symbol from store.option_prices p
                              where p.option_symbol > left(c.first, 12) || '~' and p.option_symbol < c.root || '~'
                              order by p.option_symbol limit 1),
                             (select i.option_symbol from store.option_images i
                              where i.option_symbol > left(c.first, 12) || '~' and i.option_symbol < c.root || '~'
                              order by i.option_symbol limit 1))
        from chain c where c.first is not null
    )
    select left(c.first, 12), to_date('20' || substr(c.first, 7, 6), 'YYYYMMDD')
    from chain c
    where substr(c.first, 13, 1) <> 'X'
      and $1 = coalesce((select p.ticker from store.option_prices p where p.option_symbol = c.first limit 1),
                        (select i.ticker from store.option_images i where i.option_symbol = c.first limit 1))
$$;
comment on function store.option_chains(text, date) is
    'Root and expiry, as symbols begin with them, of a ticker''s contracts that rows or images are stored of and that expire on that day or later.';

create or replace function store.option_symbols(ticker text, expiry date) returns setof text
    language sql stable parallel safe security invoker set search_path = '' rows 200
as $$
    with recursive symbol (prefix, name) as (
        select c.prefix collate "C", c.prefix collate "C" from store.option_chains($1, $2) c where c.expiry = $2
        union all
        select s.prefix, least((select p.option_symbol from store.option_prices p
                                where p.option_symbol > s.name and p.option_symbol < s.prefix || '~'
                                order by p.option_symbol limit 1),
                               (select i.option_symbol from store.option_images i
                                where i.option_symbol > s.name and i.option_symbol < s.prefix || '~'
                                order by i.option_symbol limit 1))
        from symbol s where s.name is not null
    )
    select s.name from symbol s where s.name <> s.prefix
$$;
comment on function store.option_symbols(text, date) is 'The contracts of a ticker and expiry that rows or images are stored of.';

create or replace function store.nearest_expiry(ticker text, low timestamptz, high timestamptz) returns date
    language sql stable parallel safe security invoker set search_path = ''
as $$
    select c.expiry
    from (select distinct k.expiry from store.option_chains($1, ($2 at time zone 'America/New_York')::date) k
          order by k.expiry offset 0) c
    where (select coalesce((select true from store.option_prices p
                            where p.option_symbol = s.name and p.timestamp >= $2 and p.timestamp <= $3 limit 1),
                           (select true from store.option_images i
                            where i.option_symbol = s.name and i.timestamp >= $2 and i.timestamp <= $3 limit 1)) as found
           from store.option_symbols($1, c.expiry) s (name)
           order by found limit 1)  -- not "exists": it may be hashed, which reads all rows of the day
    order by c.expiry limit 1
$$;
comment on function store.nearest_expiry(text, timestamptz, timestamptz) is
    'The first expiry, from the exchange day of low on, that a ticker has rows or images of from low to high; NULL: none.';

create or replace function public.get_chain(ticker text, at timestamptz default null, expiry date default null)
    returns table (strike_price numeric, option_type text, bid numeric, ask numeric, last numeric, bid_size integer,
                   ask_size integer, volume bigint, day_volume bigint, open_interest bigint, implied_volatility numeric,
                   delta numeric, gamma numeric, theta numeric, vega numeric, rho numeric, iv_model numeric,
                   delta_model numeric, gamma_model numeric, theta_model numeric, vega_model numeric, rho_model numeric,
                   iv_half_width numeric, forward numeric, model_reason text, model_at timestamptz,
                   "timestamp" timestamptz, age interval, flags text, expiration_date date, option_symbol text)
    language sql stable parallel safe security invoker set search_path = ''
as $$
    with moment as materialized (select coalesce($2, public.stream_now()) as now),
    day as materialized (
        select now, date_trunc('day', now at time zone 'America/New_York') at time zone 'America/New_York' as low
        from moment),
    chosen as materialized (select now, low, coalesce($3, store.nearest_expiry($1, low, now)) as expiry from day)
    select q.strike_price, q.option_type, q.bid, q.ask, q.last, q.bid_size, q.ask_size, q.volume, q.day_volume,
           q.open_interest, q.implied_volatility, q.delta, q.gamma, q.theta, q.vega, q.rho, m.iv_model, m.delta_model,
           m.gamma_model, m.theta_model, m.vega_model, m.rho_model, m.iv_half_width, m.forward, m.model_reason,
           m.timestamp, q.timestamp, c.now - q.timestamp, store.option_flag_names(q.flags), q.expiration_date,
           q.option_symbol
    from chosen c
    cross join lateral store.option_symbols($1, c.expiry) s (name)
    cross join lateral (
        select u.*
        from ((select p.ticker, p.timestamp, p.option_type, p.strike_price, p.expiration_date, p.bid, p.ask, p.last,
                      p.bid_size, p.ask_size, p.volume, p.day_volume, p.open_interest, p.implied_volatility, p.delta,
                      p.gamma, p.theta, p.vega, p.rho, p.option_symbol, p.flags, p.seq, p.item,
                      p.timestamp + case p.journal_no when 0 then interval '1 second' else interval '0' end as known_at
               from store.option_prices p
               where p.option_symbol = s.name and p.timestamp >= c.low and p.timestamp <= c.now
               order by p.timestamp desc, p.journal_no desc, p.seq desc, p.item desc limit 1)
              union all
              (select i.ticker, i.timestamp, i.option_type, i.strike_price, i.expiration_date, i.bid, i.ask, i.last,
                      i.bid_size, i.ask_size, i.volume, i.day_volume, i.open_interest, i.implied_volatility, i.delta,
                      i.gamma, i.theta, i.vega, i.rho, i.option_symbol, i.flags, i.seq, i.item, i.timestamp
               from store.option_images i
               where i.option_symbol = s.name and i.timestamp >= c.low and i.timestamp <= c.now
               order by i.timestamp desc, i.journal_no desc, i.seq desc, i.item desc limit 1)) u
        order by u.known_at desc, u.seq desc, u.item desc limit 1) q
    left join lateral (
        select p.timestamp, p.iv_model, p.delta_model, p.gamma_model, p.theta_model, p.vega_model, p.rho_model,
               p.iv_half_width, p.forward, p.model_reason
        from store.option_prices p
        where p.option_symbol = s.name and p.timestamp >= c.low and p.timestamp <= c.now and p.model_def is not null
        order by p.timestamp desc, p.journal_no desc, p.seq desc, p.item desc limit 1) m on true
    where q.ticker = $1
    order by q.strike_price, q.option_type, q.option_symbol
$$;
comment on function public.get_chain(text, timestamptz, date) is
    'The chain as it was known at a moment (default: stream_now()), of one expiry (default: the nearest with data on that exchange day): per contract the newest row or image of that day stamped no later; a row is stamped with its second''s start. Units as in option_prices; volume is that second''s (NULL: the newest is an image), day_volume Schwab''s running total. Model values are the newest known ones, of model_at; model_reason says why they are none. age: since timestamp.';

create or replace function store.underlying_price(ticker text, at timestamptz) returns numeric
    language sql stable parallel safe security invoker set search_path = ''
as $$
    select e.price from store.equity_data e
    where e.ticker = $1 and e.timestamp <= $2 and e.price is not null
      and e.timestamp >= date_trunc('day', $2 at time zone 'America/New_York') at time zone 'America/New_York'
    order by e.timestamp desc, e.journal_no desc, e.seq desc, e.item desc limit 1
$$;
comment on function store.underlying_price(text, timestamptz) is
    'The last price known at a moment, of that exchange day, USD; NULL: none.';

create or replace function store.option_quote(symbol text, low timestamptz, until timestamptz)
    returns table (mid numeric, iv numeric)
    language sql stable parallel safe security invoker set search_path = '' rows 1
as $$
    select case when q.bid >= 0 and q.ask > 0 then trim_scale((q.bid + q.ask) / 2) end, coalesce(m.iv, q.vendor)
    from (select u.*
          from ((select p.bid, p.ask, p.implied_volatility as vendor, p.seq, p.item,
                        p.timestamp + case p.journal_no when 0 then interval '1 second' else interval '0' end as known_at
                 from store.option_prices p
                 where p.option_symbol = $1 and p.timestamp >= $2 and p.timestamp < $3
                 order by p.timestamp desc, p.journal_no desc, p.seq desc, p.item desc limit 1)
                union all
                (select i.bid, i.ask, i.implied_volatility, i.seq, i.item, i.timestamp
                 from store.option_images i
                 where i.option_symbol = $1 and i.timestamp >= $2 and i.timestamp < $3
                 order by i.timestamp desc, i.journal_no desc, i.seq desc, i.item desc limit 1)) u
          order by u.known_at desc, u.seq desc, u.item desc limit 1) q
    full join (select p.iv_model as iv
               from store.option_prices p
               where p.option_symbol = $1 and p.timestamp >= $2 and p.timestamp < $3 and p.model_def is not null
               order by p.timestamp desc, p.journal_no desc, p.seq desc, p.item desc limit 1) m on true
$$;
comment on function store.option_quote(text, timestamptz, timestamptz) is
    'A contract as it was known from low to before until: mid of bid and ask, USD (NULL unless both are known, and there is an ask), implied volatility by the newest model values, else Schwab''s.';

create or replace function public.atm_straddle(ticker text, day date default null, expiry date default null)
    returns table (minute timestamptz, strike_price numeric, call_mid numeric, put_mid numeric, straddle numeric,
                   iv numeric, forward numeric, underlying numeric, expiration_date date)
    language sql stable parallel safe security invoker set search_path = ''
as $$
    with asked as materialized (
        select coalesce($2, (public.stream_now() at time zone 'America/New_York')::date) as day),
    span as materialized (
        select asked.day::timestamp at time zone 'America/New_York' as low,
               (asked.day + 1)::timestamp at time zone 'America/New_York' as high from asked),
    chosen as materialized (select low, high, coalesce($3, store.nearest_expiry($1, low, high)) as expiry from span),
    symbol as materialized (
        select s.name, left(s.name, 6) as root, substr(s.name, 13, 1) as side,
               trim_scale(right(s.name, 8)::numeric / 1000) as strike, t.first_at, t.last_at, t.modelled
        from chosen c
        cross join lateral store.option_symbols($1, c.expiry) s (name)
        cross join lateral (
            select least((select min(p.timestamp) from store.option_prices p
                          where p.option_symbol = s.name and p.timestamp >= c.low and p.timestamp < c.high),
                         (select min(i.timestamp) from store.option_images i
                          where i.option_symbol = s.name and i.timestamp >= c.low and i.timestamp < c.high)) as first_at,
                   greatest((select max(p.timestamp) from store.option_prices p
                             where p.option_symbol = s.name and p.timestamp >= c.low and p.timestamp < c.high),
                            (select max(i.timestamp) from store.option_images i
                             where i.option_symbol = s.name and i.timestamp >= c.low and i.timestamp < c.high)) as last_at,
                   (select true from store.option_prices p
                    where p.option_symbol = s.name and p.timestamp >= c.low and p.timestamp < c.high
                      and p.model_def is not null limit 1) as modelled) t
        where t.first_at is not null),
    pair as materialized (
        select root, strike, min(name) filter (where side = 'C') as call, min(name) filter (where side = 'P') as put
        from symbol group by root, strike having count(*) = 2),
    minutes as materialized (
        select m.minute, m.minute + interval '1 minute' as until, f.forward, e.price
        from (select date_trunc('minute', min(first_at)) as low, date_trunc('minute', max(last_at)) as high,
                     bool_or(modelled) as modelled from symbol) b
        cross join lateral generate_series(b.low, b.high, interval '1 minute') m (minute)
        cross join chosen c
        left join lateral (
            select p.forward from store.option_prices p
            where b.modelled and p.ticker = $1 and p.timestamp >= m.minute
              and p.timestamp < m.minute + interval '1 minute'
              and p.expiration_date = c.expiry and p.forward is not null
            order by p.timestamp desc limit 1) f on true
        left join lateral (
            select q.price from store.equity_data q
            where q.ticker = $1 and q.timestamp >= c.low and q.timestamp < m.minute + interval '1 minute'
              and q.price is not null
            order by q.timestamp desc, q.journal_no desc, q.seq desc, q.item desc limit 1) e on true),
    money as materialized (
        select m.minute, m.until, m.forward, m.price, k.strike, k.call, k.put
        from minutes m cross join chosen c
        cross join lateral (
            (select p.strike, p.call, p.put from pair p
             where coalesce(m.forward, m.price) is not null
             order by abs(p.strike - coalesce(m.forward, m.price)), p.strike, p.root desc limit 1)
            union all
            (select p.strike, p.call, p.put
             from pair p
             cross join lateral store.option_quote(p.call, c.low, m.until) cm
             cross join lateral store.option_quote(p.put, c.low, m.until) pm
             where coalesce(m.forward, m.price) is null and cm.mid is not null and pm.mid is not null
             order by abs(cm.mid - pm.mid), p.strike, p.root desc limit 1)) k)
    select m.minute, m.strike, cm.mid, pm.mid, trim_scale(cm.mid + pm.mid),
           trim_scale(round((select avg(v.iv) from (values (cm.iv), (pm.iv)) v (iv)), 10)),
           m.forward, m.price, c.expiry
    from money m cross join chosen c
    cross join lateral store.option_quote(m.call, c.low, m.until) cm
    cross join lateral store.option_quote(m.put, c.low, m.until) pm
    order by m.minute
$$;
comment on function public.atm_straddle(text, date, date) is
    'By minute of an exchange day (default: today''s), of one expiry (default: the nearest with data on that day), from its first to its last data: the strike that has call and put and is nearest to forward, the newest one of the minute''s model values; where there is none, to underlying, the last price in equity_data; where that is unknown too, the strike whose call and put are worth most nearly the same. Of two as near the lower one, of two roots the last by name (SPXW before SPX). Mids of the newest quotes before the minute''s end, USD a share, a bid of 0 counting as 0; iv: mean of call''s and put''s, ours, Schwab''s where there is none of ours, as a fraction.';

create or replace function public.get_smile(ticker text, at timestamptz default null, expiry date default null)
    returns table (strike_price numeric, moneyness numeric, option_type text, iv numeric, iv_half_width numeric,
                   implied_volatility numeric, bid numeric, ask numeric, forward numeric, model_reason text,
                   model_at timestamptz, expiration_date date, option_symbol text)
    language sql stable parallel safe security invoker set search_path = ''
as $$
    with moment as materialized (select coalesce($2, public.stream_now()) as now),
    chain as materialized (select k.* from moment m cross join lateral public.get_chain($1, m.now, $3) k),
    money as materialized (
        select coalesce((select k.forward from chain k where k.forward is not null
                         order by k.model_at desc, k.option_symbol limit 1),
                        store.underlying_price($1, m.now)) as forward
        from moment m)
    select k.strike_price, round(k.strike_price / m.forward, 6), k.option_type, k.iv_model, k.iv_half_width,
           k.implied_volatility, k.bid, k.ask, m.forward, k.model_reason, k.model_at, k.expiration_date, k.option_symbol
    from chain k cross join money m
    where m.forward is not null and k.option_type = case when k.strike_price >= m.forward then 'CALL' else 'PUT' end
    order by k.strike_price, k.option_symbol
$$;
comment on function public.get_smile(text, timestamptz, date) is
    'Implied volatility by strike at a moment, of the side that is out of the money (at the forward: the call); defaults as in get_chain. moneyness: strike / forward. forward: of the chain''s newest model values, else the underlying''s last price, USD; without either, no rows. iv: ours, iv_half_width: how far the quotes leave it open, implied_volatility: Schwab''s; all as fractions.';

create or replace function public.put_call_volume(ticker text, day date default null, expiry date default null)
    returns table (minute timestamptz, call_volume bigint, put_volume bigint, ratio numeric, call_total bigint,
                   put_total bigint, ratio_total numeric, expiration_date date)
    language sql stable parallel safe security invoker set search_path = ''
as $$
    with asked as materialized (
        select coalesce($2, (public.stream_now() at time zone 'America/New_York')::date) as day),
    span as materialized (
        select asked.day::timestamp at time zone 'America/New_York' as low,
               (asked.day + 1)::timestamp at time zone 'America/New_York' as high from asked),
    chosen as materialized (select low, high, coalesce($3, store.nearest_expiry($1, low, high)) as expiry from span),
    traded as materialized (
        select date_trunc('minute', p.timestamp) as minute,
               coalesce(sum(p.volume) filter (where p.option_type = 'CALL'), 0) as calls,
               coalesce(sum(p.volume) filter (where p.option_type = 'PUT'), 0) as puts
        from chosen c
        join store.option_prices p
          on p.ticker = $1 and p.timestamp >= c.low and p.timestamp < c.high and p.expiration_date = c.expiry
         and p.volume > 0
        group by 1),
    minutes as materialized (
        select m.minute, coalesce(t.calls, 0) as calls, coalesce(t.puts, 0) as puts,
               sum(coalesce(t.calls, 0)) over w as all_calls, sum(coalesce(t.puts, 0)) over w as all_puts
        from (select min(minute) as low, max(minute) as high from traded) b
        cross join lateral generate_series(b.low, b.high, interval '1 minute') m (minute)
        left join traded t on t.minute = m.minute
        window w as (order by m.minute))
    select m.minute, m.calls::bigint, m.puts::bigint, round(m.puts / nullif(m.calls, 0), 6), m.all_calls::bigint,
           m.all_puts::bigint, round(m.all_puts / nullif(m.all_calls, 0), 6), c.expiry
    from minutes m cross join chosen c
    order by m.minute
$$;
comment on function public.put_call_volume(text, date, date) is
    'Contracts traded by minute of an exchange day, of one expiry, from the first with a trade to the last; defaults as in atm_straddle. ratio: puts / calls, NULL without calls; *_total: since the first. Sums of option_prices.volume: what traded in gaps is in stream_gaps, what before the first image in day_volume alone.';

create or replace function public.gamma_exposure(ticker text, at timestamptz default null, expiry date default null)
    returns table (strike_price numeric, call_gamma numeric, put_gamma numeric, call_open_interest bigint,
                   put_open_interest bigint, call_exposure numeric, put_exposure numeric, net_gamma_exposure numeric,
                   underlying numeric, expiration_date date)
    language sql stable parallel safe security invoker set search_path = ''
as $$
    with moment as materialized (select coalesce($2, public.stream_now()) as now),
    chain as materialized (
        select k.*, coalesce(k.gamma_model, k.gamma) as newest_gamma, coalesce(d.multiplier, 100) as multiplier
        from moment m
        cross join lateral public.get_chain($1, m.now, $3) k
        left join lateral (
            select o.multiplier from store.option_contracts o
            where o.option_symbol = k.option_symbol and o.valid_from <= m.now
            order by o.valid_from desc limit 1) d on true),
    money as materialized (
        select coalesce(store.underlying_price($1, m.now),
                        (select k.forward from chain k where k.forward is not null
                         order by k.model_at desc, k.option_symbol limit 1)) as price
        from moment m),
    exposed as materialized (
        select k.*, case k.option_type when 'CALL' then 1 else -1 end * k.newest_gamma * k.open_interest * k.multiplier
                    * m.price * m.price * 0.01 as exposure, m.price
        from chain k cross join money m)
    select k.strike_price, max(k.newest_gamma) filter (where k.option_type = 'CALL'),
           max(k.newest_gamma) filter (where k.option_type = 'PUT'),
           (sum(k.open_interest) filter (where k.option_type = 'CALL'))::bigint,
           (sum(k.open_interest) filter (where k.option_type = 'PUT'))::bigint,
           round(sum(k.exposure) filter (where k.option_type = 'CALL'), 2),
           round(sum(k.exposure) filter (where k.option_type = 'PUT'), 2), round(sum(k.exposure), 2), k.price,
           k.expiration_date
    from exposed k
    group by k.strike_price, k.price, k.expiration_date
    order by k.strike_price
$$;
comment on function public.gamma_exposure(text, timestamptz, date) is
    'By strike at a moment (defaults as in get_chain), in USD that dealers must trade per 1 % move of the underlying: gamma × open interest × multiplier × underlying² × 0.01, calls positive, puts negative. That is a convention, not a fact: it supposes that dealers are long every call and short every put. gamma: ours, Schwab''s where there is none of ours; multiplier: of option_contracts, else 100; underlying: its last price in equity_data that day, else the chain''s forward, USD. What gamma or open interest is unknown of counts nothing; all unknown: NULL. Several roots of one strike are summed, gammas are then the greater one''s.';

create or replace function public.cleanup_old_option_prices(days integer default 30) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare
    removed bigint;
    images bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.option_prices where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    delete from store.option_images where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics images = row_count;
    return removed + images;
end $$;
comment on function public.cleanup_old_option_prices(integer) is
    'Removes rows older than so many days, and images, which say nothing without them; returns how many of both. option_contracts stay.';

create or replace function public.cleanup_old_option_following(days integer default 90) returns bigint
    language plpgsql security invoker set search_path = ''
as $$
declare removed bigint;
begin
    if days is null or days < 0 then
        raise exception 'days must be 0 or more' using errcode = '22023';
    end if;
    delete from store.option_following where timestamp < public.stream_now() - make_interval(days => days);
    get diagnostics removed = row_count;
    return removed;
end $$;
comment on function public.cleanup_old_option_following(integer) is 'Removes rows older than so many days; returns how many.';

revoke execute on function public.cleanup_old_option_following(integer) from public;
revoke execute on function store.model_definition_id(text, text, numeric, numeric, text) from public;

do $$
declare
    tables constant text[] := array['option_images', 'option_contracts', 'option_following', 'model_definitions'];
    name text;
    role name;
begin
    foreach name in array tables loop
        execute format('alter table store.%I enable row level security', name);
        execute format('drop policy if exists readable on store.%I', name);
        execute format('create policy readable on store.%I for select using (true)', name);
    end loop;
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        foreach name in array tables loop
            execute format('revoke all on store.%I, public.%I from %I', name, name, role);
            if role <> 'anon' then
                execute format('grant select on store.%I, public.%I to %I', name, name, role);
            end if;
            if role = 'service_role' then
                execute format('grant insert, update, delete on store.%I to service_role', name);
            end if;
        end loop;
        execute format('revoke execute on function public.cleanup_old_option_following(integer),'
                       ' store.model_definition_id(text, text, numeric, numeric, text) from %I', role);
        if role <> 'anon' then
            execute format('grant execute on function store.option_flag_names(smallint), store.option_chains(text, date),'
                           ' store.option_symbols(text, date), store.nearest_expiry(text, timestamptz, timestamptz),'
                           ' store.option_quote(text, timestamptz, timestamptz),'
                           ' store.underlying_price(text, timestamptz), public.get_chain(text, timestamptz, date),'
                           ' public.atm_straddle(text, date, date), public.get_smile(text, timestamptz, date),'
                           ' public.put_call_volume(text, date, date), public.gamma_exposure(text, timestamptz, date)'
                           ' to %I', role);
        end if;
        if role = 'service_role' then
            grant execute on function public.cleanup_old_option_following(integer),
                store.model_definition_id(text, text, numeric, numeric, text) to service_role;
        end if;
    end loop;
end $$;

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20261125000000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
