"""The installation these tests run on."""

from stax_pipeline_tests.tenants.support import engine, settings, simulator, two_tenants

__all__ = ["engine", "settings", "simulator", "two_tenants"]
