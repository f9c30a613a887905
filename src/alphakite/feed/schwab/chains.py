"""The JSON of GET /expirationchain and /chains → expiries and contracts; and what to ask for; pure.

In:   the body of one answer.      Out:  Expirations or Chain: the records, and what was rejected, by name.
A contract is what its 21-character symbol says; fields that contradict it reject the contract. Sentinels are absent by
the table of the streamer's fields. Tolerated: missing and unknown keys, and TD's older form, whose symbols are turned
into Schwab's. A body that is an error or a fault is an answer without contracts that names it in `fault`. Nothing here
raises for bad input.

One request asks for one expiry and one window of strikes (`fromDate` = `toDate`). Schwab's gateway refuses what is too
big (502, TooBigBody): `split` gives the next smaller requests. Whether `strikeCount` means each side or both together
is not known: `wider` counts what came and asks for more if a side is short.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left, bisect_right
from datetime import date
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from alphakite.feed.schwab.answers import detail
from alphakite.feed.schwab.decode import BAD, KEPT, clean
from alphakite.feed.schwab.fields import OPTION, Field
from alphakite.model import PRICE_SCALE, ChainContract, Expiration
from alphakite.symbols import OptionSymbol, format_option, parse_option

CHAIN_PATH = "/marketdata/v1/chains"
EXPIRATIONS_PATH = "/marketdata/v1/expirationchain"
TOO_BIG = "TooBigBody"
MOST_STRIKES = 1000
"""More are never asked for: with more, all are."""
SPARE_STRIKES = 10
"""Asked for beside those wanted, so that the window can move before the next request."""
LOSSY_STRIKES = 64
"""What a request falls back to when a quarter of a whole expiry is too big still."""

_FIELDS: dict[str, Field] = {one.name: one for one in OPTION}
_MILLI = PRICE_SCALE // 1000
_TD = re.compile(r"([A-Z0-9./$]{1,6})_([0-9]{2})([0-9]{2})([0-9]{2})([CP])([0-9]{0,5}(?:\.[0-9]{1,3})?)\Z")
ERRORS = ("fault", "errors", "error")
_RIGHTS = {"CALL": "C", "PUT": "P"}


class ChainRequest(Struct, frozen=True):
    """One expiry of one underlying. `strike_count` None: all strikes. `side`: SBK below the money, SAK above it.

    `right`: CALL, PUT or ALL. `lossy`: outer strikes were given up, because the answer would be too big.
    """

    symbol: str
    expiry: date
    strike_count: int | None = None
    side: str = "ALL"
    right: str = "ALL"
    lossy: bool = False

    def parameters(self) -> dict[str, str]:
        """The query."""
        day = self.expiry.isoformat()
        query = {"symbol": self.symbol, "contractType": self.right, "fromDate": day, "toDate": day}
        query |= {"strategy": "SINGLE", "includeUnderlyingQuote": "true"}
        if self.side != "ALL":
            query["range"] = self.side
        return query if self.strike_count is None else query | {"strikeCount": str(self.strike_count)}


class Expirations(Struct):
    """What one answer of /expirationchain held, sorted by date. `fault`: why there is nothing, "" if all is well."""

    expirations: list[Expiration]
    rejected: list[str]
    fault: str = ""


class Chain(Struct):
    """What one answer of /chains held; contracts sorted by expiry, strike, root, right; prices × PRICE_SCALE.

    `underlying_price`: the regular session's, which stands still outside it; `underlying_last`: the last trade's.
    `told`: how many contracts the answer says it has. `fault`: why there are none, "" if all is well.
    """

    symbol: str
    contracts: list[ChainContract]
    rejected: list[str]
    status: str = ""
    underlying_price: int | None = None
    underlying_last: int | None = None
    delayed: bool = False
    truncated: bool = False
    told: int | None = None
    fault: str = ""

    @property
    def complete(self) -> bool:
        """Whether the answer holds all that was asked for: neither truncated nor short of what it says it has."""
        return not self.fault and not self.truncated and (self.told is None or len(self.contracts) >= self.told)


class _Wire(Struct, gc=False):
    """A contract as sent, only what is read; each value is looked at on its own."""

    symbol: Any = UNSET
    put_call: Any = field(default=UNSET, name="putCall")
    strike: Any = field(default=UNSET, name="strikePrice")
    root: Any = field(default=UNSET, name="optionRoot")
    settlement_type: Any = field(default=UNSET, name="settlementType")
    exercise_type: Any = field(default=UNSET, name="exerciseType")
    expiration_type: Any = field(default=UNSET, name="expirationType")
    multiplier: Any = UNSET
    mini: Any = UNSET
    non_standard: Any = field(default=UNSET, name="nonStandard")
    open_interest: Any = field(default=UNSET, name="openInterest")
    last_trading_day_ms: Any = field(default=UNSET, name="lastTradingDay")
    delta: Any = UNSET
    deliverables: Any = field(default=UNSET, name="optionDeliverablesList")


class _Root(Struct):
    """The answer's root. UNSET maps: it is no chain."""

    symbol: Any = UNSET
    status: Any = UNSET
    underlying: Any = UNSET
    underlying_price: Any = field(default=UNSET, name="underlyingPrice")
    delayed: Any = field(default=UNSET, name="isDelayed")
    truncated: Any = field(default=UNSET, name="isChainTruncated")
    told: Any = field(default=UNSET, name="numberOfContracts")
    calls: dict[str, dict[str, list[_Wire]]] | UnsetType = field(default=UNSET, name="callExpDateMap")
    puts: dict[str, dict[str, list[_Wire]]] | UnsetType = field(default=UNSET, name="putExpDateMap")
    fault: Any = UNSET
    errors: Any = UNSET
    error: Any = UNSET


_root_decoder = msgspec.json.Decoder(_Root)
_WIRE_NAMES = dict(zip(_Wire.__struct_encode_fields__, _Wire.__struct_fields__, strict=True))
_ROOT_NAMES = dict(zip(_Root.__struct_encode_fields__, _Root.__struct_fields__, strict=True))


def is_too_big(text: str | bytes) -> bool:
    """Whether a body, or the message of the error made of it, is the gateway's refusal of an answer too big."""
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return TOO_BIG in words or "Body buffer overflow" in words


# ── requests ────────────────────────────────────────────────────────────────────────────────────────────────


def expirations_parameters(symbol: str) -> dict[str, str]:
    """The query of /expirationchain."""
    return {"symbol": symbol}


def chain_request(symbol: str, expiry: date, each_side: int | None) -> ChainRequest:
    """The first request for an expiry. Args: each_side: strikes wanted below and above the money, None: all."""
    count = None if each_side is None else 2 * each_side + SPARE_STRIKES
    return ChainRequest(symbol, expiry, count if count is not None and count <= MOST_STRIKES else None)


def split(request: ChainRequest) -> tuple[ChainRequest, ...]:
    """The next smaller requests that together ask for the same; empty: it cannot be made smaller.

    First below and above the money, then calls and puts, each without loss; then half the strikes, the near ones.
    """
    replace = msgspec.structs.replace
    if request.side == "ALL":
        return replace(request, side="SBK"), replace(request, side="SAK")
    if request.right == "ALL":
        return replace(request, right="CALL"), replace(request, right="PUT")
    count = LOSSY_STRIKES if request.strike_count is None else request.strike_count // 2
    return (replace(request, strike_count=count, lossy=True),) if count else ()


def wider(request: ChainRequest, contracts: list[ChainContract], price: int, each_side: int) -> ChainRequest | None:
    """The same request for twice the strikes, if a side of `price` has fewer than wanted and there may be more.

    Args: contracts: all that came for the request, or for what it was split into; price × PRICE_SCALE.
    """
    count = request.strike_count
    if count is None or request.lossy:
        return None
    strikes = sorted({one.strike for one in contracts})
    sides = bisect_left(strikes, price), len(strikes) - bisect_right(strikes, price)
    if len(strikes) < count:  # fewer than asked for, whatever is meant: there are no more
        return None
    each = len(strikes) > count  # then it is meant for each side, and a side with fewer is at its end
    if all(number >= each_side or (each and number < count) for number in sides):
        return None
    return msgspec.structs.replace(request, strike_count=2 * count if 2 * count <= MOST_STRIKES else None)


# ── answers ─────────────────────────────────────────────────────────────────────────────────────────────────


def parse_expirations(body: bytes) -> Expirations:
    """Take one answer of /expirationchain apart. Never raises."""
    found = Expirations([], [])
    whole = _parsed(body)
    entries = whole.get("expirationList") if isinstance(whole, dict) else None
    if not isinstance(entries, list):
        found.fault = _fault(whole)
        return found
    for entry in entries:
        values: dict[str, Any] = entry if isinstance(entry, dict) else {}
        if (day := _day(values.get("expirationDate", values.get("expiration")))) is None:
            found.rejected.append(f"an expiry without a date: {_shown(entry)}: {KEPT}")
            continue
        days = values.get("daysToExpiration")
        roots = values.get("optionRoots", "")
        named = roots if isinstance(roots, list) else str(roots).split(",")
        found.expirations.append(
            Expiration(
                day,
                int(days) if isinstance(days, int | float) and not isinstance(days, bool) and days == days else None,
                _word(values.get("expirationType")),
                _word(values.get("settlementType")),
                tuple(root for one in named if (root := str(one).strip())),
                values.get("standard", True) is not False,
            )
        )
    found.expirations.sort(key=lambda one: (one.date, one.settlement, one.roots))
    return found


def parse_chain(body: bytes) -> Chain:
    """Take one answer of /chains apart. Never raises."""
    chain = Chain("", [], [])
    try:
        root = _root_decoder.decode(body)
    except BAD:
        root = _slow_root(_parsed(body), chain)
    chain.symbol, chain.status = _text(root.symbol), _text(root.status)
    if root.calls is UNSET and root.puts is UNSET:
        chain.fault = _fault({name: getattr(root, name) for name in ERRORS})
        return chain
    chain.delayed, chain.truncated = root.delayed is True, root.truncated is True
    chain.told = root.told if isinstance(root.told, int) and not isinstance(root.told, bool) else None
    chain.underlying_price = _price(root.underlying_price, "underlyingPrice", chain)
    if isinstance(root.underlying, dict):
        chain.underlying_last = _price(root.underlying.get("last", UNSET), "underlying.last", chain)
    seen: dict[str, ChainContract] = {}
    for right, expiries in (("C", root.calls), ("P", root.puts)):
        for day, strikes in expiries.items() if expiries is not UNSET else ():
            for wires in strikes.values():
                for wire in wires:
                    contract = _contract(wire, right, day, chain)
                    if contract is not None and seen.setdefault(contract.symbol, contract) is not contract:
                        chain.rejected.append(f"{contract.symbol}: twice in one chain: {KEPT}")
    chain.contracts = sorted(seen.values(), key=lambda one: (one.expiry, one.strike, one.root, one.right))
    return chain


def _contract(wire: _Wire, right: str, listed: str, chain: Chain) -> ChainContract | None:
    """A contract that agrees with its symbol; None, and named, if it does not."""
    symbol = wire.symbol if isinstance(wire.symbol, str) else ""
    said = parse_option(symbol) or _td_option(symbol)
    if said is None:
        chain.rejected.append(f"{_shown(wire.symbol)}: no option's symbol: {KEPT}")
        return None
    named = symbol if len(symbol) == 21 else format_option(said)
    strike = clean(_FIELDS["strike"], None if wire.strike is UNSET else wire.strike)
    if isinstance(strike, float) and round(strike * 1000) * _MILLI != said.strike:
        chain.rejected.append(f"{named}: its strikePrice is {_shown(wire.strike)}: {KEPT}")
        return None
    if right != said.right or _RIGHTS.get(_text(wire.put_call), right) != right:
        chain.rejected.append(f"{named}: listed as {right}, putCall {_shown(wire.put_call)}: {KEPT}")
        return None
    if (day := _day(listed)) is not None and day != said.expiry:
        chain.rejected.append(f"{named}: listed under {listed:.40}: the symbol's date counts")
    multiplier = _number(wire, "multiplier", named, chain)
    root = _text(wire.root).strip() or said.root
    return ChainContract(
        named,
        chain.symbol,
        root,
        right,
        said.strike,
        said.expiry,
        _word(wire.settlement_type),
        _word(wire.exercise_type),
        _word(wire.expiration_type),
        multiplier,
        wire.mini is True,
        _adjusted(wire, said.root, chain.symbol, multiplier),
        _number(wire, "open_interest", named, chain),
        _number(wire, "last_trading_day_ms", named, chain),
        _number(wire, "delta", named, chain),
    )


def _adjusted(wire: _Wire, root: str, underlying: str, multiplier: int | None) -> bool:
    """Schwab's own flag; else OCC's digit behind the root, or a deliverable that is not the multiplier's shares."""
    if wire.non_standard is True or (root[-1:].isdigit() and not underlying[-1:].isdigit()):
        return True
    if not isinstance(wire.deliverables, list) or not wire.deliverables or multiplier is None:
        return False
    first = wire.deliverables[0]
    units = first.get("deliverableUnits") if isinstance(first, dict) else None
    return len(wire.deliverables) > 1 or (isinstance(units, int | float) and units != multiplier)


def _td_option(symbol: str) -> OptionSymbol | None:
    """TD's older spelling: `F_121120C.5`."""
    if (match := _TD.match(symbol)) is None or match[6] in ("", "."):
        return None
    root, month, day, year, right, strike = match.groups()
    whole, _, part = strike.partition(".")
    try:
        expiry = date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None
    return OptionSymbol(root, expiry, "C" if right == "C" else "P", int(f"{whole or 0}{part:0<3}") * _MILLI)


def _number(wire: _Wire, name: str, symbol: str, chain: Chain) -> Any:
    """A number by the table of the streamer's fields; None if absent, and if it cannot be one, which is named."""
    value = getattr(wire, name)
    if value is UNSET:
        return None
    sound = clean(_FIELDS[name], value)
    if sound is UNSET:
        chain.rejected.append(f"{symbol}: {name} is {_shown(value)}: {KEPT}")
        return None
    return sound


def _price(value: object, name: str, chain: Chain) -> int | None:
    if value is UNSET:
        return None
    sound = clean(_FIELDS["underlying_price"], value)
    if sound is UNSET:
        chain.rejected.append(f"{name} is {_shown(value)}: {KEPT}")
    return round(sound * PRICE_SCALE) if isinstance(sound, float) else None


def _slow_root(whole: object, chain: Chain) -> _Root:
    """A root that the typed decoder refuses: bare NaN, not UTF-8, a map or a contract of another shape."""
    if not isinstance(whole, dict):
        return _Root()
    root = _Root(**{ours: whole[theirs] for theirs, ours in _ROOT_NAMES.items() if theirs in whole})
    root.calls, root.puts = _slow_map(root.calls, chain), _slow_map(root.puts, chain)
    return root


def _slow_map(expiries: object, chain: Chain) -> Any:
    if expiries is UNSET or expiries is None:
        return expiries if expiries is UNSET else {}
    if not isinstance(expiries, dict):
        chain.rejected.append(f"contracts by expiry are {_shown(expiries)}: {KEPT}")
        return {}
    found: dict[str, dict[str, list[_Wire]]] = {}
    for day, strikes in expiries.items():
        for strike, wires in strikes.items() if isinstance(strikes, dict) else [("", strikes)]:
            for wire in wires if isinstance(wires, list) else [wires]:
                if not isinstance(wire, dict):
                    chain.rejected.append(f"{day:.40} {strike:.40}: no contract but {_shown(wire)}: {KEPT}")
                    continue
                read = {ours: wire[theirs] for theirs, ours in _WIRE_NAMES.items() if theirs in wire}
                found.setdefault(day, {}).setdefault(strike, []).append(_Wire(**read))
    return found


def _parsed(body: bytes) -> Any:
    """The JSON of a body, also with bare NaN; UNSET if it is none."""
    try:
        return json.loads(body.decode("utf-8", "replace"), parse_int=lambda digits: int(digits[:40]))
    except BAD:
        return UNSET


def _fault(whole: object) -> str:
    """Why an answer holds nothing, in Schwab's words as far as it has any."""
    if not isinstance(whole, dict):
        return "not JSON" if whole is UNSET else f"no object but {_shown(whole)}"
    said = {name: whole[name] for name in ERRORS if whole.get(name, UNSET)}
    if not said:
        return "an object without a list of expiries or contracts"
    words = detail(json.dumps(said, default=str))
    return TOO_BIG if is_too_big(words) else words or "an error without words"


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except RecursionError:
        return "nested without end"


def _day(value: object) -> date | None:
    """The date that a text begins with: `2026-11-23`, `2026-11-23:0`, an ISO time."""
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(value: object) -> str:
    sound = clean(_FIELDS["root"], value)
    return sound if isinstance(sound, str) else ""


def _word(value: object) -> str:
    """A code of one letter; "" for blanks and for what is none."""
    word = _text(value).strip()
    return word if len(word) == 1 else ""
