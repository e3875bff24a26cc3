"""The analyst's address in the form libpq takes. Analysts read only: nobody gets write access by copying it."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from stax_pipeline.settings import Settings

SEARCH_PATH = "-csearch_path=stax"


def analyst_url(settings: Settings, *options: str) -> str:
    """A `postgresql://` URI in which the schema needs no naming; the database must have been set up.

    `options` are the server's, as in `-cstatement_timeout=60s`.
    """
    import sqlalchemy as sa

    from stax_pipeline.resources.warehouse.roles import logins

    made = sa.make_url(logins(settings).analyst)
    given = made.normalized_query.get("options", ())
    query = {**made.query, "options": " ".join([*given, SEARCH_PATH, *options])}
    address = made.set(drivername="postgresql", query={}).render_as_string(hide_password=False)
    return f"{address}?{urlencode(query, doseq=True, quote_via=quote)}"  # libpq takes a + for a +, not for a space
