"""Addresses of Postgres: what they may look like, and what one that leaves this machine demands of the server.

Stays out: which settings hold one (`installation.settings`), and connecting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlencode

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
AUTHENTICATION, NOT_IN_CLEAR = "scram-sha-256", "!password"
BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)
"""Where systems keep the certificates of those whom they trust; libpq looks in none of these places by itself."""
_NO_BUNDLE = "a URL with sslrootcert=, or STAX_DATABASE_CA_FILE must be set: this machine has no bundle of certificates"
_AFTER_SCHEME = re.compile(
    r"(?:[^:/@]*(?::[^@]*)?@)?"  # user and password, as SQLAlchemy tells them apart
    r"(?:(?P<host>[\w.%-]*)|\[(?P<ipv6>[0-9A-Fa-f:.%]+)\])(?::(?P<port>[0-9]{1,5}))?(?:/[^?]*)?(?:\?(?P<query>.*))?",
    re.DOTALL,
)


def parsed(text: str) -> str:
    """The URL with its driver spelled out: a bare postgresql:// means another driver in newer SQLAlchemy.

    Raises ValueError with what it may be.
    """
    scheme, separator, rest = text.partition("://")
    found = _AFTER_SCHEME.fullmatch(rest)
    if not separator or scheme not in SCHEMES or not found or not 0 < int(found["port"] or 5432) < 65_536:
        raise ValueError(
            "a URL like postgresql://user:password@host:5432/database (a password's @ must be written %40)"
        )
    return f"postgresql+psycopg2://{rest}"


def secured(url: str, authorities: Path | None = None) -> str:
    """A parsed URL that shows its password to nobody: off this machine the server proves itself by TLS and asks for
    SCRAM, on loopback and sockets it must not ask for the password in clear, since another may listen there while it is
    down. What the URL says itself wins.

    `authorities` is a file of certificates, in place of the system's. Raises ValueError where there is neither, and for
    an empty demand, which libpq passes over.
    """
    found = _AFTER_SCHEME.fullmatch(url.partition("://")[2])
    assert found is not None
    said = parse_qs(found["query"] or "", keep_blank_values=True)
    if "" in (*said.get("sslmode", ()), *said.get("require_auth", ())):
        raise ValueError("a URL in which sslmode= and require_auth= hold a value where they are given")
    places = list(_places(found["ipv6"] or found["host"], said))
    is_default_socket = not places and "service" not in said
    is_here = is_default_socket or bool(places) and all(map(_is_on_this_machine, places))
    added = {} if "require_auth" in said else {"require_auth": NOT_IN_CLEAR if is_here else AUTHENTICATION}
    if not is_here or is_default_socket:  # a socket does not mind TLS, and PGHOST may make it none
        added |= _tls(said, authorities or _bundle(), is_needed=not is_here)
    separator = "?" if found["query"] is None else "&" if found["query"] else ""
    return f"{url}{separator}{urlencode(added)}" if added else url


def _tls(said: dict[str, list[str]], bundle: Path | None, *, is_needed: bool) -> dict[str, str]:
    added = {} if "sslmode" in said else {"sslmode": "verify-full"}
    mode = said["sslmode"][-1] if "sslmode" in said else "verify-full"
    if mode.startswith("verify-") and "sslrootcert" not in said:
        if bundle is None:
            if is_needed:
                raise ValueError(_NO_BUNDLE)
            return {}
        added["sslrootcert"] = str(bundle)
    return added


def _places(host: str, said: dict[str, list[str]]) -> Iterator[str]:
    """Every host and address that the URL names: libpq goes to one and may prove the name of another."""
    for value in (host, *said.get("host", ()), *said.get("hostaddr", ())):
        yield from (place for place in value.split(",") if place)


def _is_on_this_machine(place: str) -> bool:
    if place.startswith(("/", "@")):
        return True
    name = re.sub(r"^([^:]*):[0-9]*$", r"\1", place).lower()  # SQLAlchemy takes a port behind one of several hosts
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _bundle() -> Path | None:
    return next((Path(place) for place in BUNDLES if Path(place).is_file()), None)
