"""The analyst's address in the form libpq takes. Analysts read only: nobody gets write access by copying it."""

from __future__ import annotations

from stax_pipeline.settings import Settings


def analyst_url(settings: Settings) -> str:
    """A `postgresql://` URI; the database must have been set up."""
    import sqlalchemy as sa

    from stax_pipeline.resources.warehouse.roles import logins

    made = sa.make_url(logins(settings).analyst)
    return made.set(drivername="postgresql").render_as_string(hide_password=False)
