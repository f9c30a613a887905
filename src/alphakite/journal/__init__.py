"""The journal: every byte that arrived, as it arrived, before anything looks at it."""
