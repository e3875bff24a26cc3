"""The source: Anthropic's Admin API over HTTP, one organisation at a time, every page guarded.

Belongs here: requests, retries, paging, time-outs, and the words in which a refusal is told. Stays out: which reports
and days are wanted (`domain.extraction`), what a page means (`anthropic.envelope` and the normalisers), where keys are
kept (`tenants`) and what a run does with a failure (`assets`).

    async with admin_api("https://api.anthropic.com") as api:
        session = api.session(key)
        async for page in session.walk(cost_query(window)):
            ...

Modules: `transport` sends one request, `responses` and `refusals` judge what came back, `retry` decides whether to try
again. `typed_pages` reads a page in one pass, `envelope` one that is not plain. `paging` guards a walk, `client` puts
them together, `explain` tells a person why a key was not accepted.
"""

from stax_pipeline.anthropic.client import AdminApi, OrganizationSession, WhoAmI, admin_api
from stax_pipeline.anthropic.envelope import RestatedWhileReading
from stax_pipeline.anthropic.explain import explain_refusal
from stax_pipeline.anthropic.paging import PageTokenExpired
from stax_pipeline.anthropic.refusals import EdgeRefusal, KeyRejection, NoNewerSource, NoOrganization, ScopeMissing
from stax_pipeline.anthropic.responses import SourceTimedOut, UnexpectedResponse
from stax_pipeline.anthropic.transport import Limits

__all__ = [
    "AdminApi",
    "EdgeRefusal",
    "KeyRejection",
    "Limits",
    "NoNewerSource",
    "NoOrganization",
    "OrganizationSession",
    "PageTokenExpired",
    "RestatedWhileReading",
    "ScopeMissing",
    "SourceTimedOut",
    "UnexpectedResponse",
    "WhoAmI",
    "admin_api",
    "explain_refusal",
]
