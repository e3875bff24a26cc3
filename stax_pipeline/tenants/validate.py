"""Try an admin key out before it is stored: who it belongs to, and whether it may read costs.

Belongs here: the two live calls and their refusal in plain words. Stays out: the key's shape (`domain.admin_key`),
storing it (`connect`, `rotate`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from stax_pipeline.anthropic import EdgeRefusal, OrganizationSession, admin_api, explain_refusal
from stax_pipeline.anthropic.queries import cost_query
from stax_pipeline.domain.admin_key import AdminKey
from stax_pipeline.domain.errors import CannotStart, KeyRefused, RequestRejected, SourceUnavailable, StaxError
from stax_pipeline.domain.extraction import Window
from stax_pipeline.domain.time import LATE_DAYS
from stax_pipeline.installation.settings import Settings

LIVE_TEST = "its organisation and cost report of the last complete day"


@dataclass(frozen=True, slots=True)
class Validated:
    """What Anthropic said about a key it accepted, at its own clock."""

    organization_id: str
    organization_name: str
    validated_at: datetime


def validate(settings: Settings, key: AdminKey) -> Validated:
    """Ask Anthropic whether it accepts `key` for the cost report.

    Raises KeyRefused, and CannotStart where Anthropic was not to be reached, a proxy's refusal included, and judged
    nothing. Neither quotes the key.
    """
    refusal: StaxError
    try:
        return asyncio.run(_ask(settings, key))
    except KeyRefused:
        raise
    except (SourceUnavailable, EdgeRefusal) as error:
        refusal = CannotStart(explain_refusal(error))
    except Exception as error:
        refusal = KeyRefused(explain_refusal(error))
    raise refusal


async def _ask(settings: Settings, key: AdminKey) -> Validated:
    async with admin_api(settings.anthropic_base_url, ca_file=settings.ca_file) as api:
        session = api.session(key)
        me = await session.whoami()
        await _read_a_day(session, me.server_date.date())
    return Validated(me.organization_id, me.name, me.server_date)


async def _read_a_day(session: OrganizationSession, today: date) -> None:
    """The last complete day by the server's clock (the local one may be days off), or the newest that is there yet."""
    refusal: RequestRejected | None = None
    for age in range(1, LATE_DAYS + 2):
        end = today - timedelta(days=age - 1)
        try:
            await session.first_page(cost_query(Window(end - timedelta(days=1), end)))
            return
        except RequestRejected as error:
            refusal = refusal or error
            if error.status != 400:
                break
    if refusal:
        raise refusal
