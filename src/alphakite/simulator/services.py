"""The streamer's services: which are played, how each delivers, how many symbols it takes, and the codes of answers.

Source: the project's Schwab reference, §3.4 to §3.6. `change`: merged, only what changed; `whole`: the complete object
each time; `sequence`: every message, numbered; `silent`: accepted here, and nothing ever comes.
"""

from __future__ import annotations

from dataclasses import dataclass

EQUITIES, OPTIONS, CHART, ACTIVITY = "LEVELONE_EQUITIES", "LEVELONE_OPTIONS", "CHART_EQUITY", "ACCT_ACTIVITY"
BOOKS = ("NYSE_BOOK", "NASDAQ_BOOK", "OPTIONS_BOOK")
SCREENERS = ("SCREENER_EQUITY", "SCREENER_OPTION")
SUBSCRIBING = frozenset({"SUBS", "ADD", "UNSUBS", "VIEW"})

SUCCESS, DENIED, UNKNOWN_FAILURE, NO_SERVICE, EVICTED = 0, 3, 9, 11, 12
TOO_MANY, NO_LOGIN, BAD_FORMAT, STOPPED = 19, 20, 21, 30
FAILED = {"SUBS": 22, "UNSUBS": 23, "ADD": 24, "VIEW": 25}
SUCCEEDED = {"SUBS": 26, "UNSUBS": 27, "ADD": 28, "VIEW": 29}
CODES = (SUCCESS, DENIED, UNKNOWN_FAILURE, NO_SERVICE, EVICTED, TOO_MANY, NO_LOGIN, BAD_FORMAT, *range(22, 30))
"""Every code of a response; 30 comes in a notify."""
TOO_MANY_TEXT = "You've reached the maximum number of symbols allowed.  ({service}={cap}, DISCARDED={discarded})"
"""Two blanks before the parenthesis, as captured."""
STOP_TEXTS = {
    "empty": "Stop streaming due to empty subscription",
    "slow": "Stop streaming due to slow consumption by the client",
}


@dataclass(frozen=True, slots=True)
class Service:
    """`cap`: the most symbols of one user, None for no limit. `commands`: what else is answered with 21."""

    delivery: str
    cap: int | None = None
    commands: frozenset[str] = SUBSCRIBING


SERVICES: dict[str, Service] = {
    EQUITIES: Service("change", 3000),
    OPTIONS: Service("change", 3000),
    "LEVELONE_FUTURES": Service("silent"),
    "LEVELONE_FUTURES_OPTIONS": Service("silent"),
    "LEVELONE_FOREX": Service("silent"),
    "NYSE_BOOK": Service("whole"),
    "NASDAQ_BOOK": Service("whole"),
    "OPTIONS_BOOK": Service("whole"),
    CHART: Service("sequence", 300),
    "CHART_FUTURES": Service("silent"),
    "SCREENER_EQUITY": Service("whole"),
    "SCREENER_OPTION": Service("whole"),
    ACTIVITY: Service("sequence", commands=frozenset({"SUBS", "UNSUBS"})),
    "NEWS_HEADLINE": Service("silent"),
}
"""All others, as TD Ameritrade's TIMESALE_* and ACTIVES_*, are answered with 11."""


def text_of(code: int, service: str, command: str) -> str:
    """What a response with this code says; of 19 the text needs its counters, see TOO_MANY_TEXT."""
    for codes, outcome in ((FAILED, "failed"), (SUCCEEDED, "succeeded")):
        for name, number in codes.items():
            if number == code:
                return f"{name} command {outcome}"
    texts = {
        SUCCESS: f"{command} command succeeded",
        DENIED: "Login Denied.: token is invalid or has expired.",
        UNKNOWN_FAILURE: "Unknown failure",
        NO_SERVICE: f"Service {service} is not available",
        EVICTED: "Maximum connections reached: another connection of this user is logged in",
        NO_LOGIN: "Stream connection not found.",
        BAD_FORMAT: "Bad command formatting",
    }
    return texts[code]
