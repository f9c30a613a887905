"""Custom indicators by name: from a word of INDICATORS to a class, checked, with its definitions.

    ema21, macd_12_26_9, vwap_bands      shipped ones; numbers are their parameters, in order, and may be left out
    my_module:EMA21                      MODULE:CLASS: PYTHONPATH, the working directory, the settings file's folder
    my_module:EMA21@1a2b3c4d             as the journal has it: pinned to the definition that it had then

`resolve` is for the start of a service, and says what is wrong. `load` is for derivation and never raises: an old
journal may name what is no longer there, or has changed since.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

import msgspec

from alphakite.config import Settings
from alphakite.derive.indicators.base import Indicator, Value
from alphakite.derive.indicators.rounding import units
from alphakite.errors import ConfigError
from alphakite.model import IndicatorDefinition

BUILT_IN = ("sma9", "vwap")
"""Columns of their own; not custom indicators."""
SHIPPED = {
    "ema": "alphakite.derive.indicators.ema:EMA",
    "rsi": "alphakite.derive.indicators.rsi:RSI",
    "macd": "alphakite.derive.indicators.macd:MACD",
    "bollinger": "alphakite.derive.indicators.bollinger:Bollinger",
    "atr": "alphakite.derive.indicators.atr:ATR",
    "vwap_bands": "alphakite.derive.indicators.vwap_bands:VWAPBands",
    "opening_range": "alphakite.derive.indicators.opening_range:OpeningRange",
}
NUMBERED = re.compile(r"([a-z_]+?)((?:_?\d+)(?:_\d+)*)?")
OUTPUT = re.compile(r"[a-z_][a-z0-9_]*")
SEED_RULE = "pricehistory candles of regular minutes before the first own bar"
PIN_DIGITS = 8
MOST_NUMBER = 100_000
"""A length beyond it is a slip."""


@dataclass(frozen=True)
class Loaded:
    """A name's class, or the `problem` that there is none; `digest` is the definition's identity, "" without one."""

    name: str
    problem: str = ""
    digest: str = ""
    definitions: tuple[IndicatorDefinition, ...] = ()
    live: bool = True
    thaw: Callable[[bytes], Indicator] = lambda _state: Indicator()
    """The indicator of a state; b"" is a fresh one."""

    def numbers(self, value: Value) -> list[int | None]:
        """What `value()` returned, one number × INDICATOR_SCALE for each output. Raises: TypeError."""
        if len(self.definitions) == 1 and not isinstance(value, tuple):
            return [units(value)]
        if value is None:
            return [None] * len(self.definitions)
        if not isinstance(value, tuple) or len(value) != len(self.definitions):
            raise TypeError(f"value() must return a tuple of {len(self.definitions)}, not {value!r:.60}")
        return [units(one) for one in value]


def custom(names: Iterable[str]) -> list[str]:
    """The names that are not built in."""
    return [name for name in names if name not in BUILT_IN]


def search_in(folders: Iterable[str]) -> None:
    """Look for modules in these folders, too, after all others: no file there can hide an installed module."""
    if fresh := [folder for folder in folders if folder not in sys.path]:
        sys.path.extend(fresh)
        load.cache_clear()


def folders_of(settings: Settings) -> tuple[str, ...]:
    """Where a person's modules are looked for besides PYTHONPATH: the working directory, the settings file's folder."""
    return ("", str(settings.env_file.parent)) if settings.env_file is not None else ("",)


def problems(names: Sequence[str]) -> list[str]:
    """What is wrong with these names, in words."""
    return [f"{name}: {found.problem}" for name in custom(names) if (found := load(name)).problem]


def resolve(names: Sequence[str], folders: Iterable[str] = ()) -> list[Loaded]:
    """The custom indicators among the names of INDICATORS.

    Args: folders: where else to look, such as the working directory and the settings file's folder.
    Raises: ConfigError if one cannot be found or used.
    """
    search_in(folders)
    if wrong := problems(names):
        raise ConfigError(
            f"INDICATORS: {'; '.join(wrong)}",
            next_step=f"name sma9, vwap, one of {', '.join(SHIPPED)} (numbers may follow, as in ema21), or MODULE:CLASS"
            " of a file in the working directory or beside the settings file",
        )
    return [load(name) for name in custom(names)]


def pinned(names: Sequence[str]) -> tuple[str, ...]:
    """The names as the journal is to have them: each with the beginning of its definition's digest."""
    pairs = [(name, "" if name in BUILT_IN else load(name).digest) for name in names]
    return tuple(f"{name}@{digest[:PIN_DIGITS]}" if digest else name for name, digest in pairs)


@cache
def load(name: str) -> Loaded:
    """The class of a name. Never raises: a `problem` says why there is none. Loaded once in a process."""
    plain, _, pin = name.partition("@")
    try:
        loaded = _check(plain, _class_of(plain))
    except (Exception, SystemExit) as error:  # importing it runs somebody's code
        return Loaded(plain, problem=told(error))
    if pin and not loaded.digest.startswith(pin):
        return Loaded(plain, problem="its definition has changed since this was recorded; old values are not made anew")
    return loaded


def told(error: BaseException) -> str:
    """An exception's type and text, short."""
    return f"{type(error).__name__}: {error}"[:300] if not isinstance(error, _Unusable) else str(error)


class _Unusable(Exception):
    """A name without a usable class; its text is the reason."""


def _class_of(name: str) -> type[Indicator]:
    if ":" in name:
        return _import(name)
    match = NUMBERED.fullmatch(name)
    if match is None or match[1] not in SHIPPED:
        raise _Unusable("there is no such indicator")
    shipped = _import(SHIPPED[match[1]])
    numbers = [int(part) for part in re.findall(r"\d+", match[2] or "")]
    if len(numbers) > len(shipped.parameters) or not all(0 < number < MOST_NUMBER for number in numbers):
        raise _Unusable(f"it takes {', '.join(shipped.parameters)}, each at least 1")
    if not numbers:
        return shipped
    given = dict(zip(shipped.parameters, numbers, strict=False))
    made = msgspec.defstruct(shipped.__name__, [], bases=(shipped,), module=shipped.__module__, namespace=given)
    return cast("type[Indicator]", made)


def _import(place: str) -> type[Indicator]:
    module_name, _, class_name = place.partition(":")
    importlib.invalidate_caches()
    module = importlib.import_module(module_name)
    found = getattr(module, class_name, None)
    if not isinstance(found, type) or not issubclass(found, Indicator):
        raise _Unusable(f"{module_name} has no class {class_name} that is an alphakite.derive.indicators.Indicator")
    return found


def _check(name: str, cls: type[Indicator]) -> Loaded:
    """Everything that can be known before the first bar."""
    if cls.bar is Indicator.bar or cls.value is Indicator.value:
        raise _Unusable("it needs the methods bar and value")
    outputs = cls.outputs
    if not isinstance(outputs, tuple) or not outputs or len(set(outputs)) < len(outputs):
        raise _Unusable("outputs must be a tuple of different names")
    if not all(isinstance(one, str) and OUTPUT.fullmatch(one) for one in outputs):
        raise _Unusable("outputs must be names of small letters, digits and _")
    decoder = msgspec.msgpack.Decoder(cls)
    fresh = encode(cls())
    decoder.decode(fresh)
    definitions = tuple(_definition(name, output, cls) for output in outputs)
    digest = hashlib.md5("|".join(one.digest for one in definitions).encode(), usedforsecurity=False).hexdigest()
    return Loaded(name, "", digest, definitions, bool(cls.live), lambda state: decoder.decode(state or fresh))


encode = msgspec.msgpack.Encoder().encode


def _definition(name: str, output: str, cls: type[Indicator]) -> IndicatorDefinition:
    parameters = {key: getattr(cls, key) for key in cls.parameters}
    described = (
        name,
        output,
        json.dumps(parameters, sort_keys=True, default=str),
        f"{cls.about}{', the one in progress included' if cls.live else ''}",
        cls.carries,
        SEED_RULE,
        _version(cls),
    )
    digest = hashlib.md5("|".join(described).encode(), usedforsecurity=False).hexdigest()
    return IndicatorDefinition(*described, digest)


def _version(cls: type[Indicator]) -> str:
    """The class's own number; with files that are not ours also what is in them, so that no change goes unseen."""
    lineage = [one for one in cls.__mro__ if issubclass(one, Indicator) and one is not Indicator]
    foreign = {
        one.__module__: _source(one.__module__) for one in lineage if not one.__module__.startswith("alphakite.")
    }
    if not foreign:
        return str(cls.version)
    ours = [f"{one.__qualname__} {one.version}" for one in lineage if one.__module__ not in foreign]
    text = "\n".join([*ours, *foreign.values()])
    return f"{cls.version} {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:12]}"


def _source(module_name: str) -> str:
    spec = getattr(sys.modules.get(module_name), "__spec__", None)
    read = getattr(getattr(spec, "loader", None), "get_source", None)
    return (read(module_name) if read is not None else None) or ""
