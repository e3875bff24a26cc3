"""An independent, honest simulator of Anthropic's cost and usage Admin API. Imports nothing of the product."""

from stax_pipeline.simulator import faults
from stax_pipeline.simulator.billing import Truth, truth
from stax_pipeline.simulator.documents import invoice_lines, invoice_name, write_documents
from stax_pipeline.simulator.organization import Commitment, Correction, Credit, Organization
from stax_pipeline.simulator.realistic import demo_organizations, realistic_organization
from stax_pipeline.simulator.server import Simulator, serve_forever
from stax_pipeline.simulator.story import corrected_day, invoiced_month, story_organizations

__all__ = [
    "Commitment",
    "Correction",
    "Credit",
    "Organization",
    "Simulator",
    "Truth",
    "corrected_day",
    "demo_organizations",
    "faults",
    "invoice_lines",
    "invoice_name",
    "invoiced_month",
    "realistic_organization",
    "serve_forever",
    "story_organizations",
    "truth",
    "write_documents",
]
