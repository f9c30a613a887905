"""What nobody knows for certain about Schwab (tagged [?] in the project's reference): one switch each.

`--switch NAME=VALUE` chooses; the first value is the default. The recorder is tested against every value.
"""

from __future__ import annotations

from dataclasses import dataclass

from alphakite.errors import UsageError


@dataclass(frozen=True, slots=True)
class Switch:
    """The values it may have, the default first, and what it is about."""

    values: tuple[str, ...]
    about: str


SWITCHES: dict[str, Switch] = {
    "heartbeat": Switch(("always", "idle", "never"), "when heartbeats are sent after the first one"),
    "evicts": Switch(("older", "newer"), "which connection a second login of the same user ends"),
    "close-frame": Switch(("yes", "no"), "whether a close frame follows codes 12 and 30"),
    "re-add": Switch(("image", "nothing"), "what an ADD of a key that is subscribed already brings"),
    "token-expiry": Switch(("ignored", "closes"), "what happens to a socket when its access token expires"),
    "index": Switch(("streams", "silent"), "whether $SPX and the like stream on LEVELONE_EQUITIES"),
    "sizes": Switch(("shares", "lots"), "the unit of an equity's bid and ask size"),
    "key-order": Switch(("first", "last"), "whether `key` stands before or behind the numbered fields"),
    "services": Switch(("apart", "together"), "whether the services of one second share a frame"),
    "parallel": Switch(("served", "fails"), "what a second command on one service in the same message gets: 22 to 25"),
    "early-command": Switch(("closes", "stays"), "what follows code 20 for a command before LOGIN"),
    "cross-trade-time": Switch(("moves", "still"), "whether field 36 moves with the closing cross"),
    "strike-count": Switch(("per-side", "total"), "what strikeCount counts"),
    "user-preference": Switch(("object", "array"), "the form of userPreference's answer"),
    "code-error": Switch(
        ("invalid_grant", "unsupported_token_type", "invalid_request"), "the error of a late code or another redirect"
    ),
    "empty-chain": Switch(("SUCCESS", "FAILED"), "the status of a chain in which nothing matches"),
    "correl-id": Switch(("fresh", "kept"), "whether userPreference gives another id at every call"),
    "first-tick": Switch(("04:00", "07:00"), "from when equities tick"),
}


def parse_switches(texts: tuple[str, ...]) -> dict[str, str]:
    """Every switch and its value.

    Raises: UsageError: an unknown switch or value.
    """
    chosen = {name: switch.values[0] for name, switch in SWITCHES.items()}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in SWITCHES:
            raise UsageError(f"--switch {text}: unknown", next_step=f"use one of {', '.join(SWITCHES)}")
        if value not in SWITCHES[name].values:
            raise UsageError(f"--switch {text}: not a value", next_step=f"use {'|'.join(SWITCHES[name].values)}")
        chosen[name] = value
    return chosen
