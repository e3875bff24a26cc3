"""Addresses in the form libpq takes, of logins that read only: nobody gets write access by copying one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from stax_pipeline.installation.postgres_url import AUTHENTICATION, NOT_IN_CLEAR
from stax_pipeline.installation.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

SEARCH_PATH = "-csearch_path=stax"


def analyst_url(settings: Settings) -> str:
    """A `postgresql://` URI in which the schema needs no naming; the database must have been set up."""
    from stax_pipeline.warehouse.roles import logins

    return for_libpq(logins(settings).analyst)


def for_libpq(url: str | sa.URL) -> str:
    """A SQLAlchemy URL as a `postgresql://` URI in which the schema needs no naming."""
    import sqlalchemy as sa

    made = sa.make_url(url)
    given = made.normalized_query.get("options", ())
    query = {**made.query, "options": " ".join([*given, SEARCH_PATH])}
    if query.get("require_auth") in (
        AUTHENTICATION,
        NOT_IN_CLEAR,
    ):  # not known to a psql before 16
        del query["require_auth"]
    address = made.set(drivername="postgresql", query={}).render_as_string(hide_password=False)
    return f"{address}?{urlencode(query, doseq=True, quote_via=quote)}"  # libpq takes a + for a +, not for a space
