"""The app's own login to the warehouse: as itself for people and sessions, as whom it serves for everything else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

import sqlalchemy as sa

from stax_pipeline.app.people.person import Person
from stax_pipeline.domain.errors import CannotStart
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse import roles
from stax_pipeline.warehouse.app_readers import reading_as, tenants_role
from stax_pipeline.warehouse.engine import connect_engine, plain_faults


class AppDatabase:
    """Connections of `stax_app`, opened when they are first asked for.

    Every use raises CannotStart where the installation has no such login.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @contextmanager
    def own(self) -> Iterator[sa.Connection]:
        """One transaction on the app's own tables; it reads no row of a tenant."""
        with plain_faults("looking who is there"), self._opened.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self, person: Person) -> Iterator[sa.Connection]:
        """One read-only snapshot in which the policies show what that person may see."""
        role = tenants_role(person.tenant_id) if person.tenant_id else self._opened.analyst
        with reading_as(self._opened.engine, role) as connection:
            yield connection

    def close(self) -> None:
        """Close the connections that are kept open."""
        if "_opened" in self.__dict__:
            self._opened.engine.dispose()

    @cached_property
    def _opened(self) -> _Opened:
        logins = roles.logins(self._settings)
        if not logins.app:
            raise CannotStart(
                "The app has no database login: `stax up` makes it, or STAX_APP_URL names one where the user of "
                "STAX_DATABASE_URL may not create roles (docs/operate/security.md)."
            )
        return _Opened(connect_engine(logins.app), logins.role_in(logins.analyst))


class _Opened(NamedTuple):
    """The app's connections, and the role that reads all tenants."""

    engine: sa.Engine
    analyst: str
