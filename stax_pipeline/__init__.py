"""stax-pipeline: Anthropic cost and usage, per tenant, from the Admin API to dollars in a warehouse."""

__version__ = "0.1.0"
