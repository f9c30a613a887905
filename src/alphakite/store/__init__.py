"""Rows → tables: sinks, the embedded PostgreSQL, migrations, exports."""
