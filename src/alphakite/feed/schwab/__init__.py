"""Charles Schwab: sign-in, REST, streamer, and the decoding of its frames."""
