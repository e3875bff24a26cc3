"""An independent, honest simulator of Anthropic's cost and usage Admin API. Imports nothing of the product."""

from stax_pipeline.simulator import faults
from stax_pipeline.simulator.billing import Truth, truth
from stax_pipeline.simulator.organization import Organization
from stax_pipeline.simulator.realistic import demo_organizations, realistic_organization
from stax_pipeline.simulator.server import Simulator, serve_forever

__all__ = [
    "Organization",
    "Simulator",
    "Truth",
    "demo_organizations",
    "faults",
    "realistic_organization",
    "serve_forever",
    "truth",
]
