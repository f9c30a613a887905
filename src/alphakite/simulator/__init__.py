"""A local Schwab: OAuth, REST and streamer that play a tape or a synthetic session, and the tape's own truth."""

from alphakite.simulator.options import SimulatorOptions, TapeFile, parse_tape
from alphakite.simulator.server import Simulator, start

__all__ = ["Simulator", "SimulatorOptions", "TapeFile", "parse_tape", "start"]
