"""TLS as a client of ours: whom it believes is said by one setting, and by no variable that other programs read.

SSL_CERT_FILE and SSL_CERT_DIR would choose who may pass for Anthropic, SSLKEYLOGFILE would write down what opens a
recorded connection, and Python and httpx obey all three where they make a context.
"""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

import certifi


@cache
def client_context(ca_file: Path | None, *, of_system: bool = False) -> ssl.SSLContext:
    """For connections that carry a secret: `ca_file` alone is believed; without it the public authorities, or those
    that this machine was set up with.

    Made once for each: it reads a whole bundle, 60 ms of CPU.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()  # of these, what OpenSSL was built with; the others are the variables'
    held = [path for path in (paths.openssl_cafile, paths.openssl_capath) if Path(path).exists()]
    if ca_file or not of_system or not held:
        context.load_verify_locations(cafile=ca_file or certifi.where())
        return context
    for path in held:
        context.load_verify_locations(**{"capath" if Path(path).is_dir() else "cafile": path})
    return context
