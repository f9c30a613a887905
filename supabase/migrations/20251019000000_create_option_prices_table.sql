-- Option quotes: one row per contract and second in which a stored column changed. Filled by a later version.

create table if not exists store.option_prices (
    ticker             text collate "C"        not null,
    timestamp          timestamptz not null,
    option_type        text        not null check (option_type in ('CALL', 'PUT')),
    strike_price       numeric     not null,
    expiration_date    date        not null,
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
    option_symbol      text collate "C"        not null,
    flags              smallint    not null default 0,
    primary key (option_symbol, timestamp)
);
create index if not exists option_prices_timestamp on store.option_prices (timestamp);
comment on table store.option_prices is 'Option quotes by contract and second.';
comment on column store.option_prices.ticker is 'The underlying, as the user wrote it.';
comment on column store.option_prices.timestamp is 'Start of the second, UTC.';
comment on column store.option_prices.option_type is 'CALL or PUT.';
comment on column store.option_prices.strike_price is 'Strike, USD.';
comment on column store.option_prices.expiration_date is 'Expiry date.';
comment on column store.option_prices.bid is 'Best bid, USD; 0 is a value, NULL is unknown.';
comment on column store.option_prices.ask is 'Best ask, USD.';
comment on column store.option_prices.last is 'Last trade, USD.';
comment on column store.option_prices.bid_size is 'Contracts at the bid.';
comment on column store.option_prices.ask_size is 'Contracts at the ask.';
comment on column store.option_prices.volume is 'Contracts traded within the second.';
comment on column store.option_prices.day_volume is 'Schwab''s cumulative volume of the day.';
comment on column store.option_prices.open_interest is 'Open contracts.';
comment on column store.option_prices.implied_volatility is 'As a fraction: 0.18 is 18 percent.';
comment on column store.option_prices.delta is 'Per USD of the underlying.';
comment on column store.option_prices.gamma is 'Change of delta per USD.';
comment on column store.option_prices.theta is 'Per calendar day.';
comment on column store.option_prices.vega is 'Per point of volatility.';
comment on column store.option_prices.rho is 'Per point of interest.';
comment on column store.option_prices.option_symbol is 'Schwab''s 21-character symbol.';
comment on column store.option_prices.flags is 'Bit set of quality flags.';

do $$
begin
    -- Not again over what a later migration made of it: a view's columns cannot be taken away.
    if to_regclass('public.option_prices') is not null then
        return;
    end if;
    create view public.option_prices with (security_invoker = true) as
        select ticker, timestamp, option_type, strike_price, expiration_date, bid, ask, last, bid_size, ask_size, volume,
               day_volume, open_interest, implied_volatility, delta, gamma, theta, vega, rho, option_symbol,
               case when flags <> 0 then store.flag_names(flags) end as flags
        from store.option_prices;
end $$;
comment on view public.option_prices is 'Option quotes and greeks by contract and second.';

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20251019000000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
