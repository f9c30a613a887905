"""Spellings of instruments at Schwab.

An option symbol has 21 characters: the root, padded with blanks to 6, YYMMDD, C or P, the strike × 1000 in 8 digits.
`$` begins an index (`$SPX`), `/` stands inside a class share (`BRK/B`). Blanks are part of a symbol: never strip one.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

import msgspec

PRICE_SCALE = 100_000_000
"""As in `model.py`, whose floor this is: prices are integers of 1e-8 dollars."""
STRIKE_UNIT = PRICE_SCALE // 1000
"""A symbol's strike counts thousandths of a dollar."""
MOST_STRIKE = 99_999_999 * STRIKE_UNIT
ROOT_LETTERS = 6

_REST = re.compile(r"([0-9]{2})([0-9]{2})([0-9]{2})([CP])([0-9]{8})\Z")
_ROOT = re.compile(r"[A-Z0-9./$]{1,6}\Z")
_CLASS_SHARE = re.compile(r"[A-Z]+/[A-Z]+\Z")


class OptionSymbol(msgspec.Struct, frozen=True, order=True):
    """What an option's symbol says. `right`: C, P. `strike` × PRICE_SCALE, exact."""

    root: str
    expiry: date
    right: Literal["C", "P"]
    strike: int


def parse_option(symbol: str) -> OptionSymbol | None:
    """What an option's symbol says; None if it is none."""
    root, match = symbol[:ROOT_LETTERS].rstrip(" "), _REST.match(symbol[ROOT_LETTERS:])
    if match is None or not _ROOT.match(root):
        return None
    year, month, day, right, strike = match.groups()
    try:
        expiry = date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None
    return OptionSymbol(root, expiry, "C" if right == "C" else "P", int(strike) * STRIKE_UNIT)


def format_option(option: OptionSymbol) -> str:
    """The symbol of an option. Raises ValueError for what no symbol can say."""
    if not _ROOT.match(option.root):
        raise ValueError(f"an option's root has 1 to {ROOT_LETTERS} capital letters or digits, not {option.root!r}")
    if not 2000 <= option.expiry.year <= 2099:
        raise ValueError(f"an option symbol knows the years 2000 to 2099, not {option.expiry.year}")
    if option.right not in ("C", "P"):
        raise ValueError(f"an option is C or P, not {option.right!r}")
    thousandths, rest = divmod(option.strike, STRIKE_UNIT)
    if rest or not 0 <= option.strike <= MOST_STRIKE:
        raise ValueError(f"a strike is 0 to 99999.999 in thousandths of a dollar, not {option.strike} × 1e-8")
    return f"{option.root:<{ROOT_LETTERS}}{option.expiry:%y%m%d}{option.right}{thousandths:08d}"


def is_option(symbol: str) -> bool:
    """Whether this is an option's symbol."""
    return parse_option(symbol) is not None


def is_index(symbol: str) -> bool:
    """Whether this is an index: it has no volume, perhaps no bid and ask, and may not stream."""
    return len(symbol) > 1 and symbol[0] == "$"


def is_class_share(symbol: str) -> bool:
    """Whether this is a class of shares (`BRK/B`): Schwab's one-symbol paths cannot name it."""
    return _CLASS_SHARE.match(symbol) is not None
