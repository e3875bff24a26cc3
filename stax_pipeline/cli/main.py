"""The command `stax`: which commands there are, and how a fault ends one.

Belongs here: the list of commands and exit codes. Stays out: every command's work, imported only when it is called, so
that `stax --help` answers at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import threading
from contextlib import suppress
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from stax_pipeline.cli.output_guard import guarded_streams, refuse_keys
from stax_pipeline.keys.private_memory import keep_memory_private, write_no_core

COMMANDS = {
    "demo": ("demo", "Everything on one machine with no key: simulator, database, two tenants, 62 days, app"),
    "up": ("services", "Start the database and the app, with Dagster's UI under /dagster, on loopback"),
    "open": ("open_app", "Open the app that runs in a browser"),
    "down": ("services", "Stop what was left running"),
    "connect": ("keys", "Connect a tenant by its Anthropic admin key, and fetch its first 30 days"),
    "sync": ("sync", "Fetch and rebuild a window of days, as one run"),
    "status": ("status", "How far each tenant's data reaches, and what went wrong last"),
    "tenants": ("tenants", "List the tenants, and set which source one is read from"),
    "sql": ("sql", "One read-only query as the analyst"),
    "url": ("env", "The analyst's connection string, in the form psql takes"),
    "env": ("env", 'Exports for other tools: eval "$(stax env)", then dagster dev'),
    "grant": ("grants", "Let a database login read some tenants alone"),
    "revoke": ("grants", "Take tenants from such a login"),
    "login": ("login", "Who may log in to the app: add, list and remove people"),
    "invite": ("invite", "A one-time link by which a tenant connects itself, and its person gets a login"),
    "rotate-key": ("keys", "Replace a tenant's admin key"),
    "disconnect": ("keys", "Destroy a tenant's key, and on request its data"),
    "rotate-master-key": ("keys", "Wrap every stored key by a new master key"),
    "prices": ("prices", "Show, import and check the price book"),
    "rates": ("rates", "Show, import and suggest contract rates"),
    "commitments": ("commitments", "Show and import Priority Tier commitments"),
    "invoice": ("invoice", "Record what Anthropic invoiced for a month, and compare"),
    "checks": ("checks", "Findings that are accepted for a tenant; stax checks accept accepts one"),
    "alerts": ("alerts", "What is wrong, and whether it could be told; stax alerts test sends a test message"),
    "replay": ("replay", "Rebuild every table from the raw pages, without the network"),
    "export": ("export", "FOCUS 1.4, spend or usage as one Parquet or CSV file"),
    "verify": ("verify", "Check every raw page's hash and every sum, read only"),
    "backup": ("backup", "Write the whole installation, but the master key, into one file"),
    "restore": ("backup", "Put a backup into an empty installation"),
    "simulate": ("demo", "Serve a made-up Anthropic Admin API on loopback"),
}
INTERRUPTED, TERMINATED = 130, 143
RAISED_BY = {  # what a signal raises here, and in a run of Dagster's
    "SystemExit": signal.SIGTERM,
    "KeyboardInterrupt": signal.SIGINT,
    "DagsterExecutionInterruptedError": signal.SIGINT,
}


class Lazy(click.Group):
    """Imports a command's module when the command is called or explained, not before."""

    def list_commands(self, _context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"stax_pipeline.cli.commands.{COMMANDS[name][0]}")
        command = getattr(module, name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="stax-pipeline", message="%(version)s")
def stax() -> None:
    """Anthropic's cost and usage of many organisations, in a warehouse of your own."""
    from stax_pipeline.cli.unknown_settings import warnings

    for warning in warnings(os.environ):
        click.echo(warning, err=True)
    _forget_left_secrets()


def _forget_left_secrets() -> None:
    from stax_pipeline.cli.pid_file import forget_left_secrets
    from stax_pipeline.domain.errors import StaxError
    from stax_pipeline.installation.settings import read_settings

    with suppress(StaxError, OSError):  # the command itself says what is wrong with its settings
        forget_left_secrets(read_settings().home)


def main() -> None:
    """Run one command. Exit codes: 0 done, 1 with failures, 2 wrong use, 3 cannot start, 4 key refused, 130, 143."""
    collect_seldom()
    take_signals()
    os.umask(0o077)
    write_no_core()
    if os.environ.get("STAX_MASTER_KEY"):
        keep_memory_private()
    with guarded_streams(sys.argv[1:]):
        _run()


def collect_seldom() -> None:
    """What a command imports stays to its end: looking through it every 700 objects is a sixth of the time to start."""
    gc.set_threshold(100_000, 20, 50)


def _run() -> NoReturn:
    try:
        refuse_keys(sys.argv[1:])
        sys.exit(stax.main(standalone_mode=False) or 0)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as wrong:
        _show(wrong)
        sys.exit(wrong.exit_code)
    except (KeyboardInterrupt, click.exceptions.Abort):
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as fault:
        _end(fault)


def take_signals() -> None:
    """SIGINT and SIGTERM end the command and its children even where `&` had them ignored; nohup keeps SIGHUP off."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _terminated)
    sys.unraisablehook = _signal_again


def _signal_again(dropped: sys.UnraisableHookArgs) -> None:
    """What a signal raises inside a finaliser or a weak reference's callback is dropped there, and the command would go
    on: the signal comes again, a moment later.
    """
    number = RAISED_BY.get(dropped.exc_type.__name__)
    if number is None:
        sys.__unraisablehook__(dropped)
        return
    again = threading.Timer(0.1, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(TERMINATED)


def _show(wrong: click.ClickException) -> None:
    from stax_pipeline.domain.pasted_key import without_keys

    shown = StringIO()
    wrong.show(shown)
    click.echo(without_keys(shown.getvalue()), nl=False, err=True)


def _end(fault: Exception) -> NoReturn:
    """Tell a fault without its traceback, unless STAX_DEBUG=1 asks for it."""
    from stax_pipeline.domain.errors import StaxError
    from stax_pipeline.domain.pasted_key import without_keys

    if os.environ.get("STAX_DEBUG") == "1":
        import traceback

        click.echo(without_keys("".join(traceback.format_exception(fault))), err=True)
    if isinstance(fault, StaxError):
        click.echo(f"stax: {without_keys(str(fault))}", err=True)
        sys.exit(fault.exit_code)
    log = _write_log(fault)
    where = f" Where it happened is in {log}." if log else ""
    click.echo(f"stax: unexpected {type(fault).__name__}; please report it.{where} STAX_DEBUG=1 shows it.", err=True)
    sys.exit(1)


def _write_log(fault: Exception) -> Path | None:
    """The places of the fault, without its message, which might quote anything; None where it cannot be written."""
    import traceback
    from datetime import UTC, datetime

    from stax_pipeline.installation.settings import read_settings

    try:
        log = read_settings().home / "stax.log"
        with log.open("a") as out:
            out.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {type(fault).__name__}\n")
            out.writelines(traceback.format_tb(fault.__traceback__))
    except Exception:
        return None
    return log


if __name__ == "__main__":
    main()
