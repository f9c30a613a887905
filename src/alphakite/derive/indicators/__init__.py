"""Indicators: one small file each; `sma9` and `vwap` exact and built in, all others as `Indicator`, found by name."""

from alphakite.derive.indicators.base import Indicator, MinuteBar, Value
from alphakite.derive.indicators.found import folders_of, pinned, problems, resolve, search_in

__all__ = ["Indicator", "MinuteBar", "Value", "folders_of", "pinned", "problems", "resolve", "search_in"]
