"""Addresses of Postgres: what they may look like, and what one that leaves this machine demands of the server.

Stays out: which settings hold one (`settings`), and connecting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs, urlencode

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg2")
AUTHENTICATION = "scram-sha-256"
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
    """A parsed URL that demands TLS with a proven server, and a way to log in that shows it no password.

    Loopback and sockets are left as they are, and so is whatever the URL says itself. `authorities` is a file of
    certificates, in place of the system's. Raises ValueError where there is neither.
    """
    found = _AFTER_SCHEME.fullmatch(url.partition("://")[2])
    assert found is not None
    said = parse_qs(found["query"] or "", keep_blank_values=True)
    places = list(_places(found["ipv6"] or found["host"], said))
    is_default_socket = not places and "service" not in said
    bundle = authorities or _bundle()
    if places and all(map(_is_on_this_machine, places)) or is_default_socket and bundle is None:
        return url
    added: dict[str, str] = {}
    if "sslmode" not in said:
        added["sslmode"] = "verify-full"  # a socket does not mind, and PGHOST may make it none
    if added.get("sslmode", said.get("sslmode", [""])[-1]).startswith("verify-") and "sslrootcert" not in said:
        if bundle is None:
            raise ValueError(_NO_BUNDLE)
        added["sslrootcert"] = str(bundle)
    if "require_auth" not in said and not is_default_socket:  # where the server may ask the system who we are
        added["require_auth"] = AUTHENTICATION
    separator = "?" if found["query"] is None else "&" if found["query"] else ""
    return f"{url}{separator}{urlencode(added)}" if added else url


def _places(host: str, said: dict[str, list[str]]) -> Iterator[str]:
    """Every host and address that the URL names: libpq goes to one and may prove the name of another."""
    for value in (host, *said.get("host", ()), *said.get("hostaddr", ())):
        yield from (place for place in value.split(",") if place)


def _is_on_this_machine(place: str) -> bool:
    if place.startswith(("/", "@")) or place == "localhost":
        return True
    try:
        return ip_address(place).is_loopback
    except ValueError:
        return False


def _bundle() -> Path | None:
    return next((Path(place) for place in BUNDLES if Path(place).is_file()), None)
