"""Rows → tables: the PostgreSQL sink, the embedded PostgreSQL, the schema and its migrations."""
