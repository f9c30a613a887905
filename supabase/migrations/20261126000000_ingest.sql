-- Supabase's REST: the functions by which a recorder writes without a connection of its own. The service role's alone.
-- Each UPDATE and DELETE has a WHERE: Supabase loads safeupdate for its API. A payload is columns, not rows (rest_payload.py).

create table if not exists store.batch_parts (
    journal_no integer not null,
    part       integer not null,
    after_seq  bigint  not null,
    last_seq   bigint  not null,
    piece      text    not null,
    primary key (journal_no, part)
);
comment on table store.batch_parts is 'Pieces of a batch that is too large for one request, until its last call; no rows otherwise.';
comment on column store.batch_parts.journal_no is 'The journal of the batch.';
comment on column store.batch_parts.part is 'Which piece, from 0.';
comment on column store.batch_parts.after_seq is 'Where the batch begins.';
comment on column store.batch_parts.last_seq is 'Where it ends.';
comment on column store.batch_parts.piece is 'Text; all pieces together are the batch''s JSON.';

create or replace function store.instant(us bigint) returns timestamptz
    language sql immutable parallel safe set search_path = ''
as $$ select timestamptz '1970-01-01 00:00:00+00' + us * interval '1 microsecond' $$;
comment on function store.instant(bigint) is 'Microseconds since 1970-01-01 UTC as a time.';

create or replace function store.batch_options(packed json)
    returns table (ticker text, at timestamptz, option_type text, strike_price numeric, expiration_date date, bid numeric,
                   ask numeric, last numeric, bid_size integer, ask_size integer, volume bigint, day_volume bigint,
                   open_interest bigint, implied_volatility numeric, delta numeric, gamma numeric, theta numeric,
                   vega numeric, rho numeric, option_symbol text, flags smallint, iv_model numeric, delta_model numeric,
                   gamma_model numeric, theta_model numeric, vega_model numeric, rho_model numeric, iv_half_width numeric,
                   forward numeric, model_reason text, model_def smallint, journal_no integer, seq bigint, item integer)
    language sql stable security invoker set search_path = ''
as $$
    select k.ticker, store.instant(c.base + u.at * c.tick), k.side, trim_scale(k.strike * c.unit), k.expiry,
           trim_scale(u.bid * c.unit), trim_scale(u.ask * c.unit), trim_scale(u.last * c.unit), u.bid_size, u.ask_size,
           u.volume, u.day_volume, u.open_interest, trim_scale(u.iv * 0.0000000001), trim_scale(u.delta * 0.00000001),
           trim_scale(u.gamma * 0.00000001), trim_scale(u.theta * 0.00000001), trim_scale(u.vega * 0.00000001),
           trim_scale(u.rho * 0.00000001), k.symbol, coalesce(u.flags, 0::smallint), u.m_iv * 0.00000001,
           u.m_delta * 0.00000001, u.m_gamma * 0.00000001, u.m_theta * 0.00000001, u.m_vega * 0.00000001,
           u.m_rho * 0.00000001, u.m_half_width * 0.00000001, u.m_forward * 0.00000001, u.m_reason, u.m_def,
           coalesce(u.journal_no, 0), coalesce(u.seq, 0), coalesce(u.item, 0)
    from json_to_record(packed) as c (
            base bigint, tick integer, unit numeric,
            symbols text[], tickers text[], sides text[], strikes numeric[], expiries date[],
            contract integer[], at bigint[], bid numeric[], ask numeric[], last numeric[], bid_size integer[],
            ask_size integer[], volume bigint[], day_volume bigint[], open_interest bigint[], iv numeric[],
            delta numeric[], gamma numeric[], theta numeric[], vega numeric[], rho numeric[], flags smallint[],
            m_iv numeric[], m_delta numeric[], m_gamma numeric[], m_theta numeric[], m_vega numeric[], m_rho numeric[],
            m_half_width numeric[], m_forward numeric[], m_reason text[], m_def smallint[], journal_no integer[],
            seq bigint[], item integer[])
    cross join lateral unnest(c.contract, c.at, c.bid, c.ask, c.last, c.bid_size, c.ask_size, c.volume, c.day_volume,
            c.open_interest, c.iv, c.delta, c.gamma, c.theta, c.vega, c.rho, c.flags, c.m_iv, c.m_delta, c.m_gamma,
            c.m_theta, c.m_vega, c.m_rho, c.m_half_width, c.m_forward, c.m_reason, c.m_def, c.journal_no, c.seq, c.item)
        with ordinality as u (contract, at, bid, ask, last, bid_size, ask_size, volume, day_volume, open_interest, iv,
            delta, gamma, theta, vega, rho, flags, m_iv, m_delta, m_gamma, m_theta, m_vega, m_rho, m_half_width,
            m_forward, m_reason, m_def, journal_no, seq, item, no)
    join lateral unnest(c.symbols, c.tickers, c.sides, c.strikes, c.expiries)
        with ordinality as k (symbol, ticker, side, strike, expiry, no) on k.no = u.contract
    order by u.no
$$;
comment on function store.batch_options(json) is 'Rows of option_prices or option_images out of a batch''s columns.';

create or replace function store.store_batch(packed json, journal integer) returns bigint
    language plpgsql volatile security invoker set search_path = ''
as $$
declare
    part record;
    stored bigint := 0;
    inserted bigint;
begin
    select * into part from json_to_record(packed) as p (given bigint, equity json, indicators json, "values" json,
        options json, images json, contracts json, following json, gaps json, events json);
    if part.equity is not null then
        insert into store.equity_data (ticker, timestamp, price, volume, flags, journal_no, seq, item)
        select c.names[coalesce(u.name, 1)], store.instant(c.base + u.at * c.tick), trim_scale(u.price * c.unit), u.volume,
               coalesce(u.flags, 0::smallint), coalesce(u.journal_no, 0), coalesce(u.seq, 0), coalesce(u.item, 0)
        from json_to_record(part.equity) as c (base bigint, tick integer, unit numeric, names text[], name integer[],
                at bigint[], price numeric[], volume bigint[], flags smallint[], journal_no integer[], seq bigint[],
                item integer[])
        cross join lateral unnest(c.name, c.at, c.price, c.volume, c.flags, c.journal_no, c.seq, c.item)
            as u (name, at, price, volume, flags, journal_no, seq, item)
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.indicators is not null then
        insert into store.indicators (ticker, timestamp, sma9, vwap, flags, journal_no, seq, item)
        select c.names[coalesce(u.name, 1)], store.instant(c.base + u.at * c.tick), u.sma9 * 0.000001, u.vwap * 0.000001,
               coalesce(u.flags, 0::smallint), coalesce(u.journal_no, 0), coalesce(u.seq, 0), coalesce(u.item, 0)
        from json_to_record(part.indicators) as c (base bigint, tick integer, names text[], name integer[], at bigint[],
                sma9 numeric[], vwap numeric[], flags smallint[], journal_no integer[], seq bigint[], item integer[])
        cross join lateral unnest(c.name, c.at, c.sma9, c.vwap, c.flags, c.journal_no, c.seq, c.item)
            as u (name, at, sma9, vwap, flags, journal_no, seq, item)
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part."values" is not null then
        insert into store.indicator_values (ticker, timestamp, value, flags, journal_no, seq, item, definition_id)
        select c.names[coalesce(u.name, 1)], store.instant(c.base + u.at * c.tick), u.value * 0.000001,
               coalesce(u.flags, 0::smallint), coalesce(u.journal_no, 0), coalesce(u.seq, 0), coalesce(u.item, 0),
               u.definition
        from json_to_record(part."values") as c (base bigint, tick integer, names text[], name integer[], at bigint[],
                value numeric[], flags smallint[], journal_no integer[], seq bigint[], item integer[],
                definition smallint[])
        cross join lateral unnest(c.name, c.at, c.value, c.flags, c.journal_no, c.seq, c.item, c.definition)
            as u (name, at, value, flags, journal_no, seq, item, definition)
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.options is not null then
        insert into store.option_prices
            (ticker, timestamp, option_type, strike_price, expiration_date, bid, ask, last, bid_size, ask_size, volume,
             day_volume, open_interest, implied_volatility, delta, gamma, theta, vega, rho, option_symbol, flags,
             iv_model, delta_model, gamma_model, theta_model, vega_model, rho_model, iv_half_width, forward,
             model_reason, model_def, journal_no, seq, item)
        select o.ticker, o.at, o.option_type, o.strike_price, o.expiration_date, o.bid, o.ask, o.last, o.bid_size,
               o.ask_size, o.volume, o.day_volume, o.open_interest, o.implied_volatility, o.delta, o.gamma, o.theta,
               o.vega, o.rho, o.option_symbol, o.flags, o.iv_model, o.delta_model, o.gamma_model, o.theta_model,
               o.vega_model, o.rho_model, o.iv_half_width, o.forward, o.model_reason, o.model_def, o.journal_no, o.seq,
               o.item
        from store.batch_options(part.options) o
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.images is not null then
        insert into store.option_images
            (ticker, timestamp, option_type, strike_price, expiration_date, bid, ask, last, bid_size, ask_size, volume,
             day_volume, open_interest, implied_volatility, delta, gamma, theta, vega, rho, option_symbol, flags,
             journal_no, seq, item)
        select o.ticker, o.at, o.option_type, o.strike_price, o.expiration_date, o.bid, o.ask, o.last, o.bid_size,
               o.ask_size, o.volume, o.day_volume, o.open_interest, o.implied_volatility, o.delta, o.gamma, o.theta,
               o.vega, o.rho, o.option_symbol, o.flags, o.journal_no, o.seq, o.item
        from store.batch_options(part.images) o
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.contracts is not null then
        insert into store.option_contracts
            (option_symbol, valid_from, ticker, root, option_type, strike_price, expiration_date, settlement_type,
             exercise_type, expiration_type, multiplier, mini, adjusted, last_trading_day, journal_no)
        select u.symbol, store.instant(u.valid_from), u.ticker, u.root, u.side, trim_scale(u.strike * 0.00000001), u.expiry,
               u.settlement, u.exercise, u.kind, u.multiplier, coalesce(u.mini, false), coalesce(u.adjusted, false),
               store.instant(u.last_day), journal
        from json_to_record(part.contracts) as c (symbol text[], valid_from bigint[], ticker text[], root text[],
                side text[], strike numeric[], expiry date[], settlement text[], exercise text[], kind text[],
                multiplier integer[], mini boolean[], adjusted boolean[], last_day bigint[])
        cross join lateral unnest(c.symbol, c.valid_from, c.ticker, c.root, c.side, c.strike, c.expiry, c.settlement,
                c.exercise, c.kind, c.multiplier, c.mini, c.adjusted, c.last_day)
            as u (symbol, valid_from, ticker, root, side, strike, expiry, settlement, exercise, kind, multiplier, mini,
                  adjusted, last_day)
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.following is not null then
        insert into store.option_following
            (ticker, timestamp, reason, expiries, added, removed, detail, journal_no, seq, item)
        select f.ticker, store.instant(f.at), f.reason, f.expiries, f.added, f.removed, f.detail, journal, f.seq, f.item
        from json_to_recordset(part.following) as f (ticker text, at bigint, reason text, expiries date[], added text[],
                removed text[], detail text, seq bigint, item integer)
        on conflict do nothing;
        get diagnostics inserted = row_count;
        stored := stored + inserted;
    end if;
    if part.gaps is not null then
        insert into store.stream_gaps as g (ticker, start_at, end_at, reason, volume, journal_no)
        select u.ticker, store.instant(u.begun), store.instant(u.ended), u.reason, u.volume, journal
        from json_to_record(part.gaps) as c (ticker text[], begun bigint[], ended bigint[], reason text[], volume bigint[])
        cross join lateral unnest(c.ticker, c.begun, c.ended, c.reason, c.volume)
            as u (ticker, begun, ended, reason, volume)
        on conflict (ticker, start_at) do update
        set end_at = excluded.end_at, reason = excluded.reason, volume = excluded.volume
        where g.journal_no = excluded.journal_no;
    end if;
    if part.events is not null then
        insert into store.quality_events (journal_no, seq, item, ticker, kind, timestamp, detail)
        select journal, u.seq, coalesce(u.item, 0), u.ticker, u.kind, store.instant(u.at), u.detail
        from json_to_record(part.events) as c (ticker text[], at bigint[], kind text[], detail text[], seq bigint[],
                item integer[])
        cross join lateral unnest(c.ticker, c.at, c.kind, c.detail, c.seq, c.item) as u (ticker, at, kind, detail, seq, item)
        on conflict do nothing;
    end if;
    return coalesce(part.given, 0) - stored;
end $$;
comment on function store.store_batch(json, integer) is
    'Stores the rows of a batch; the number of those whose keys were there. The first row of a key stays.';

create or replace function public.recorder_open(journal uuid, clock_mode text, needs text) returns json
    language plpgsql volatile security invoker set search_path = '' set statement_timeout = '50s'
as $$
declare
    version constant text := store.schema_version();
    known record;
begin
    if version <> needs then
        return json_build_object('schema_version', version);
    end if;
    insert into store.journals (journal_id) values (journal) on conflict (journal_id) do nothing;
    select j.journal_no, j.committed_seq, j.committed_ts into known from store.journals j where j.journal_id = journal;
    delete from store.batch_parts p where p.journal_no = known.journal_no;
    update store.service_clock c set mode = clock_mode,
        last_ts = case when clock_mode = 'feed' then coalesce(c.last_ts, known.committed_ts) end
    where c.mode <> clock_mode;
    return json_build_object('schema_version', version, 'journal_no', known.journal_no,
                             'committed_seq', known.committed_seq);
end $$;
comment on function public.recorder_open(uuid, text, text) is
    'Registers a recorder''s journal; its number, and how far it is committed. Only the schema''s version if it is not the one needed.';

create or replace function public.recorder_define(indicators json, models json) returns json
    language sql volatile security invoker set search_path = '' set statement_timeout = '50s'
as $$
    select json_build_object(
        'indicators', coalesce((
            select json_object_agg(d.digest, store.definition_id(d.name, d.output, d.parameters::jsonb, d.input, d.session,
                                                                 d.seed_rule, d.version, d.digest) order by d.no)
            from rows from (json_to_recordset(indicators) as (name text, output text, parameters text, input text,
                session text, seed_rule text, version text, digest text)) with ordinality
                as d (name, output, parameters, input, session, seed_rule, version, digest, no)), '{}'),
        'models', coalesce((
            select json_object_agg(d.digest, store.model_definition_id(d.convention, d.clock, d.rate, d.dividend,
                                                                       d.digest) order by d.no)
            from rows from (json_to_recordset(models) as (convention text, clock text, rate numeric, dividend numeric,
                digest text)) with ordinality as d (convention, clock, rate, dividend, digest, no)), '{}'))
$$;
comment on function public.recorder_define(json, json) is
    'The ids of definitions of custom indicators and of model values, by hash; new ones if they were not known.';

create or replace function public.recorder_part(journal integer, after_seq bigint, last_seq bigint, part integer,
                                                piece text) returns void
    language sql volatile security invoker set search_path = '' set statement_timeout = '50s'
as $$
    insert into store.batch_parts as p (journal_no, part, after_seq, last_seq, piece)
    values (journal, recorder_part.part, recorder_part.after_seq, recorder_part.last_seq, recorder_part.piece)
    on conflict (journal_no, part) do update
    set after_seq = excluded.after_seq, last_seq = excluded.last_seq, piece = excluded.piece
$$;
comment on function public.recorder_part(integer, bigint, bigint, integer, text) is
    'Keeps a piece of a batch that is too large for one request; recorder_write stores them all.';

create or replace function public.recorder_write(journal integer, after_seq bigint, last_seq bigint, last_ts_us bigint,
                                                 feed boolean, packed json default null, parts integer default 0)
    returns json
    language plpgsql volatile security invoker set search_path = '' set statement_timeout = '50s'
as $$
declare
    at constant timestamptz := store.instant(last_ts_us);
    whole json := packed;
    pieces integer;
    dropped bigint;
begin
    update store.journals j set committed_seq = recorder_write.last_seq, committed_ts = at, updated_at = now()
    where j.journal_no = journal and j.committed_seq = recorder_write.after_seq;
    if not found then
        return json_build_object('stored', false,
                                 'stands', (select j.committed_seq from store.journals j where j.journal_no = journal));
    end if;
    if feed then
        update store.service_clock c set mode = 'feed', last_ts = at where c.single;
    end if;
    if parts > 0 then
        select string_agg(p.piece, '' order by p.part)::json, count(*) into whole, pieces
        from store.batch_parts p
        where p.journal_no = journal and p.after_seq = recorder_write.after_seq and p.last_seq = recorder_write.last_seq
          and p.part < parts;
        if pieces <> parts then
            raise exception '% of % parts of the batch are here', pieces, parts using errcode = '40001';
        end if;
        delete from store.batch_parts p where p.journal_no = journal;
    end if;
    dropped := store.store_batch(whole, journal);
    if dropped > 0 then
        update store.journals j set duplicates = j.duplicates + dropped where j.journal_no = journal;
    end if;
    return json_build_object('stored', true, 'stands', recorder_write.last_seq, 'duplicates', dropped);
end $$;
comment on function public.recorder_write(integer, bigint, bigint, bigint, boolean, json, integer) is
    'Stores a batch and moves its journal''s position, together, only from where the batch begins; stored false: the position stands elsewhere, nothing was done.';

create or replace function public.recorder_metrics(at_us bigint, processed bigint, errors bigint, status text, details json)
    returns void
    language sql volatile security invoker set search_path = ''
as $$
    insert into store.streaming_metrics (timestamp, records_processed, error_count, service_status, details)
    values (coalesce(store.instant(at_us), public.stream_now()), processed, errors, status, details::jsonb)
$$;
comment on function public.recorder_metrics(bigint, bigint, bigint, text, json) is
    'One row of streaming_metrics; at_us NULL: stream_now().';

create or replace function public.recorder_condition() returns json
    language sql stable security invoker set search_path = ''
as $$
    select json_build_object(
        'schema_version', store.schema_version(),
        'gaps', (select count(*) from store.stream_gaps),
        'open_gaps', (select count(*) from store.stream_gaps g where g.end_at is null),
        'bytes', pg_database_size(current_database()))
$$;
comment on function public.recorder_condition() is 'For alphakite status: the schema''s version, gaps, and the size of the database in bytes.';

-- Supabase's API gives eight seconds otherwise; it takes over a function's own limit.
alter function public.refresh_equity_data_stats() set statement_timeout = '55s';

alter table store.batch_parts enable row level security;
drop policy if exists readable on store.batch_parts;
create policy readable on store.batch_parts for select using (true);
revoke execute on function store.instant(bigint), store.batch_options(json), store.store_batch(json, integer),
    public.recorder_open(uuid, text, text), public.recorder_define(json, json),
    public.recorder_part(integer, bigint, bigint, integer, text),
    public.recorder_write(integer, bigint, bigint, bigint, boolean, json, integer),
    public.recorder_metrics(bigint, bigint, bigint, text, json), public.recorder_condition() from public;

do $$
declare
    role name;
begin
    for role in select rolname from pg_catalog.pg_roles where rolname in ('anon', 'authenticated', 'service_role') loop
        execute format('revoke all on store.batch_parts from %I', role);
        execute format('revoke execute on function store.instant(bigint), store.batch_options(json),'
                       ' store.store_batch(json, integer), public.recorder_open(uuid, text, text),'
                       ' public.recorder_define(json, json), public.recorder_part(integer, bigint, bigint, integer, text),'
                       ' public.recorder_write(integer, bigint, bigint, bigint, boolean, json, integer),'
                       ' public.recorder_metrics(bigint, bigint, bigint, text, json), public.recorder_condition() from %I',
                       role);
        if role = 'service_role' then
            grant select, insert, update, delete on store.batch_parts to service_role;
            grant execute on function store.instant(bigint), store.batch_options(json),
                store.store_batch(json, integer), public.recorder_open(uuid, text, text),
                public.recorder_define(json, json), public.recorder_part(integer, bigint, bigint, integer, text),
                public.recorder_write(integer, bigint, bigint, bigint, boolean, json, integer),
                public.recorder_metrics(bigint, bigint, bigint, text, json), public.recorder_condition() to service_role;
        end if;
    end loop;
end $$;

create or replace function store.schema_version() returns text
    language sql immutable set search_path = '' as $$ select '20261126000000' $$;
comment on function store.schema_version() is 'The newest migration of alphakite that was applied here.';
notify pgrst, 'reload schema';
