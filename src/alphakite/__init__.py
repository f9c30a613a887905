"""alphakite records a trader's own Schwab market data into the trader's own PostgreSQL."""

__version__ = "0.1.0"
