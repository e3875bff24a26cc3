"""Dagster's resources: they build the objects of the rooms below, and say which tenants a run is about."""
