"""The installation these tests run on."""

from stax_pipeline_tests.tenants.support import engine, installation, settings, simulator

__all__ = ["engine", "installation", "settings", "simulator"]
