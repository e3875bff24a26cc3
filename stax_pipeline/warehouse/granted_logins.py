"""Logins of `stax grant`: made, proven harmless, handed over by their URL, and dropped.

What they see is `grants`' business; the product's own logins are `roles`'.
"""

from __future__ import annotations

import sqlalchemy as sa
from psycopg2 import sql

from stax_pipeline.domain.errors import CannotStart, WrongUse
from stax_pipeline.installation.settings import Settings
from stax_pipeline.warehouse.roles import (
    LOGGED,
    WORST,
    Logins,
    hold_back,
    is_superuser,
    login_url,
    logins,
    may_create_roles,
    new_password,
    password_file,
    unreadable,
)

GRANTED_CONNECTIONS = 10  # of one granted login at a time
GRANTED_TEMPORARY = "1GB"  # of one of its sessions on disk

MADE_HERE = "Made by stax grant"  # the comment on a login; it goes with the login, which a file would not

HARMFUL = """
with recursive granted as (select role_name as name from stax.tenant_grants {candidate}),
ours as (
    select unnest(polroles) as role from pg_policy
    where polrelid = cast('stax.tenants' as regclass) and polname in ('loader', 'analyst')
    union select nspowner from pg_namespace where nspname in ('stax', 'dagster')
    union select datdba from pg_database where datname = current_database()
),
becomes as (
    select oid as role, oid as other from pg_roles where rolname in (select name from granted)
    union select b.role, m.roleid from becomes b join pg_auth_members m on m.member = b.other
),
harmful as (
    select r.rolname as role_name, p.rolname as through,
           case when p.rolsuper then 'superuser' when p.rolbypassrls then 'BYPASSRLS'
                when p.rolcreaterole then 'CREATEROLE' when p.rolreplication then 'REPLICATION'
                when p.oid in (select role from ours) then 'the product''s own'
                when starts_with(p.rolname, 'pg_')
                  or p.rolname in ('rds_superuser', 'cloudsqlsuperuser', 'alloydbsuperuser', 'azure_pg_admin')
                then 'a role of the server'
                when p.oid <> r.oid and p.rolname in (select name from granted) then 'reads tenants of its own'
           end as power
    from becomes b join pg_roles r on r.oid = b.role join pg_roles p on p.oid = b.other
)
"""
"""What a granted login is, and every role that it may become by `set role` through any number of memberships: columns
`role_name`, `through`, and `power` in words where policies do not hold that role, or it sees other tenants.
`candidate` adds names that are not granted yet. The loader and the analyst may ask."""

_POWERS_OF = f"""{HARMFUL.format(candidate="union select cast(:role as text)")}
select role_name, through, power from harmful
where power is not null and :role in (role_name, through)
order by role_name <> :role, through <> :role, starts_with(through, 'pg_'), through
limit 1
"""  # noqa: S608 our own constant
_ELSEWHERE = """
select exists (
    select from pg_shdepend d
    where d.refclassid = cast('pg_authid' as regclass)
      and d.refobjid = (select oid from pg_roles where rolname = :role)
      and not (d.dbid = (select oid from pg_database where datname = current_database())
               and (d.classid = cast('pg_default_acl' as regclass)
                    or d.deptype = 'a' and (d.objid = cast('stax' as regnamespace) or d.objid in
                        (select oid from pg_class where relnamespace = cast('stax' as regnamespace)))))
)
"""
"""Whether anything but its tenants hangs on a login. Default privileges do not count: any login may set its own, and
name another in them."""


def exists(connection: sa.Connection, role: str) -> bool:
    query = sa.text("select exists (select from pg_roles where rolname = :role)")
    return bool(connection.execute(query, {"role": role}).scalar())


def may_look_in(connection: sa.Connection, role: str) -> bool:
    """Whether the role was given a look into the schema; the privileges go with a role that is dropped."""
    query = sa.text("""
        select exists (select from pg_namespace n, aclexplode(n.nspacl) acl join pg_roles r on r.oid = acl.grantee
                       where n.nspname = 'stax' and r.rolname = :role)
    """)
    return bool(connection.execute(query, {"role": role}).scalar())


def create_login(settings: Settings, connection: sa.Connection, role: str) -> None:
    """Make a login that may nothing yet, with a new password; run by a user who may. Raises CannotStart for another.

    A password that an older login of that name had opens the new one for nobody.
    """
    if not may_create_roles(connection):
        raise CannotStart(
            f"There is no login {role}, and the user of STAX_DATABASE_URL may not create roles. Create it yourself "
            f"(create role \"{role}\" login password '...'), then grant again."
        )
    password = new_password(password_file(settings, role))
    connection.connection.cursor().execute(
        sql.SQL("create role {} login nosuperuser nobypassrls nocreaterole nocreatedb password {}").format(
            sql.Identifier(role), sql.Literal(unreadable(connection, role, password))
        )
    )
    connection.connection.cursor().execute(
        sql.SQL("comment on role {} is {}").format(sql.Identifier(role), sql.Literal(MADE_HERE))
    )
    hold_back(connection, role, GRANTED_CONNECTIONS, GRANTED_TEMPORARY)


def quiet_granted(connection: sa.Connection) -> None:
    """Let no login that reads tenants fill the server's log, those of an operator and of older versions included.

    Only a superuser may; for others it does nothing.
    """
    if not is_superuser(connection):
        return
    loud = sa.text("""
        select rolname from pg_roles r where rolname in (select role_name from stax.tenant_grants)
        and not exists (select from pg_db_role_setting s where s.setrole = r.oid and s.setdatabase = 0 and
                        s.setconfig @> array[cast(:setting as text)])
    """)
    for role in connection.execute(loud, {"setting": f"{LOGGED}={WORST}"}).scalars().all():
        connection.connection.cursor().execute(
            sql.SQL("alter role {} set {} = {}").format(*map(sql.Identifier, (role, LOGGED)), sql.Literal(WORST))
        )


def require_harmless(loader: sa.Connection, role: str, logins: Logins) -> None:
    """Raise WrongUse for a login that row-level security would not hold, or that can become one it does not hold."""
    urls = (logins.admin, logins.owner, logins.loader, logins.analyst, logins.app, logins.dagster)
    ours = [logins.role_in(url) for url in urls if url]
    if role in ours:
        raise WrongUse(f"{role} is one of the product's own logins: it reads all tenants already.")
    found = loader.execute(sa.text(_POWERS_OF), {"role": role}).one_or_none()
    if found and found.role_name != role:
        raise WrongUse(
            f"Login {found.role_name} reads tenants of its own and is a member of {role}: it would read those of "
            f"{role} too. Take it out first (revoke {role} from {found.role_name})."
        )
    if found:
        what = found.power if found.through == role else f"member of {found.through}: {found.power}"
        raise WrongUse(
            f"Role {role} may do more than read ({what}): policies would not hold it. "
            "Grant to a login of its own instead."
        )
    if not loader.execute(sa.text("select rolcanlogin from pg_roles where rolname = :role"), {"role": role}).scalar():
        raise WrongUse(f"Role {role} cannot log in: policies look at the login itself, so grant to its members.")


def require_droppable(admin: sa.Connection, role: str) -> None:
    """Raise WrongUse for a login that `create_login` did not make, and for one that has anything but its tenants."""
    said = sa.text("select shobj_description(oid, 'pg_authid') from pg_roles where rolname = :role")
    if admin.execute(said, {"role": role}).scalar() != MADE_HERE:
        raise WrongUse(f"`stax grant` did not make a login {role}: revoke its tenants, and drop it yourself.")
    if admin.execute(sa.text(_ELSEWHERE), {"role": role}).scalar():
        raise WrongUse(
            f"Login {role} owns something, or has rights elsewhere: revoke its tenants, and drop it yourself."
        )


def drop_login(admin: sa.Connection, role: str) -> None:
    """Drop a login that has no right any more, and default privileges that it set or that name it.

    Its open sessions see nothing from then on. Raises WrongUse where it owns something by now.
    """
    require_droppable(admin, role)
    cursor, name = admin.connection.cursor(), sql.Identifier(role)
    if not is_superuser(admin):
        cursor.execute(sql.SQL("grant {} to current_user").format(name))
    cursor.execute(sql.SQL("drop owned by {}").format(name))
    cursor.execute(sql.SQL("drop role {}").format(name))


def granted_login(settings: Settings, role: str) -> str:
    """The URL of a login that `create_login` made. Raises WrongUse for any other."""
    file = password_file(settings, role)
    if not file.exists():
        raise WrongUse(f"The password of {role} is not known here: `stax grant` did not make that login.")
    found = logins(settings)
    return login_url(found.admin, role + found.suffix, file.read_text())
