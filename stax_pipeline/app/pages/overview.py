"""`/`: every tenant that the reader may see, what needs a person first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from stax_pipeline.app import figures, wording
from stax_pipeline.app.people.access import person_of
from stax_pipeline.app.people.person import Role
from stax_pipeline.app.rendering import page
from stax_pipeline.domain.money import ZERO


def overview(request: Request) -> Response:
    """One table; people of one tenant go to its page instead."""
    person, now = person_of(request.scope), request.app.state.now()
    assert person is not None
    with request.app.state.database.reading(person) as connection:
        months = figures.months(connection, now.date())
    if person.role is Role.TENANT and months:
        return RedirectResponse(f"/tenants/{months[0].slug}", 303)
    return page(
        request,
        "overview.html",
        months=months,
        reach={one.slug: wording.data_through(one.usage_data_through, one.cost_data_through, now) for one in months},
        total_usd=sum((one.total_usd for one in months), ZERO),
        today=now.date(),
    )


ROUTES = [Route("/", overview)]
