"""The Dagster instance: its storage in Postgres, and every name that comes from inside Dagster."""
