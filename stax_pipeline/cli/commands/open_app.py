"""`stax open`: the app in a browser of this machine."""

from __future__ import annotations

import os
import webbrowser

import click

from stax_pipeline.installation.homes import DEMO
from stax_pipeline.installation.settings import read_settings

OF_A_BROWSER = (
    "BROWSER", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "XDG_CURRENT_DESKTOP",
    "XDG_SESSION_TYPE", "XDG_DATA_DIRS", "XDG_CONFIG_DIRS",
)  # fmt: skip


@click.command()
def open() -> None:
    """Open the app, or the demo's, in a browser and print its address. Example: stax open"""
    from stax_pipeline.cli.pid_file import address
    from stax_pipeline.domain.errors import CannotStart

    settings = read_settings()
    own = address(settings.home)
    found = (own and settings.public_url) or own or address(settings.home / DEMO)
    if found is None:
        raise CannotStart(f"No app runs in {settings.home}. `stax up` starts it, `stax demo` one with made-up tenants.")
    click.echo(found)
    if not _show(found):
        click.echo("No browser was found on this machine: open that address in one.", err=True)


def _show(address: str) -> bool:
    """Whether a browser was started. It gets no secret of this command's environment."""
    from stax_pipeline.cli import children

    passed = {name: os.environ[name] for name in OF_A_BROWSER if name in os.environ}
    passed |= children.of_a_program(os.environ)
    os.environ.clear()
    os.environ.update(passed)
    return webbrowser.open(address)
