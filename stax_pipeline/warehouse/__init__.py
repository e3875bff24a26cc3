"""Postgres: tables, migrations, roles and grants, and what is written to and read from each table."""
