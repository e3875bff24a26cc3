"""The installation that the rotation of master keys runs on."""

from __future__ import annotations

from stax_pipeline_tests.tenants.support import engine, settings, simulator, two_tenants

__all__ = ["engine", "settings", "simulator", "two_tenants"]
