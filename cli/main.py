"""`pennylane-sync`: the commands, loaded when they are called, since some take seconds to import."""

import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any, NamedTuple

import click

from cli.output import print_error


class _Listed(NamedTuple):
    """A command as the list of commands shows it, which imports none of them."""

    module: str
    does: str


_COMMANDS = {
    "connect": _Listed("cli.connect", "Connect a company, leave accounts out, run the first sync."),
    "activate": _Listed("cli.sync", "Run the first sync; from then on it happens every hour."),
    "sync": _Listed("cli.sync", "Bring the tables up to date now."),
    "accounts": _Listed("cli.accounts", "List the accounts, and what they owe."),
    "exclude": _Listed("cli.accounts", "Leave accounts out from the next sync on."),
    "include": _Listed("cli.accounts", "Synchronize excluded accounts again."),
    "status": _Listed("cli.status", "Show how each connection is."),
    "verify": _Listed("cli.verify", "Compare the tables with Pennylane."),
    "disconnect": _Listed("cli.disconnect", "End the access to a company, keep its data."),
    "move": _Listed("cli.move", "Move everything from DuckDB to Postgres."),
    "start": _Listed("cli.start", "Serve Dagster's UI and run the schedules."),
    "demo": _Listed("cli.demo", "Show it all against a Pennylane sandbox, in a minute."),
    "sandbox": _Listed("sandbox.command", "Serve a stand-in for Pennylane."),
}


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["debug"] = True


_DEBUG = click.Option(
    ["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error."
)
"""An option of the program and of each command: it is added where one happens to be when an error occurs."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[cmd_name].module), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        if _DEBUG not in command.params:
            command.params.append(_DEBUG)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, listed.does) for name, listed in _COMMANDS.items()])


@click.group(cls=_Commands, params=[_DEBUG], context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pennylane-sync")
def cli() -> None:
    """A company's receivables out of Pennylane into its own database, and kept up to date.

    `pennylane-sync COMMAND --help` tells more of a command. Exit status: 0 done, 1 failed or differences
    found, 2 bad usage.
    """


def main() -> None:
    """Runs a command; an error becomes one line and exit status 1 (2 for bad usage)."""
    signal.signal(signal.SIGTERM, _interrupt)
    os.umask(0o077)  # what we and Dagster's processes make (books, logs, tokens) is for its owner alone
    meta: dict[str, Any] = {}
    try:
        with cli.make_context("pennylane-sync", sys.argv[1:]) as context:
            meta = context.meta
            cli.invoke(context)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.UsageError as error:
        print_error(_with_hint(error))
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        print_error("Stopped.")
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has read enough; nothing is left to be flushed into the pipe.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if meta.get("debug"):
            raise
        print_error(_one_line(error))
        sys.exit(1)


def _interrupt(_: int, __: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does: what is held is let go."""
    raise KeyboardInterrupt


def _with_hint(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "pennylane-sync"
    return f"{error.format_message()} (see: {command} --help)"


def _one_line(error: Exception) -> str:
    from resources.installation import USER_ERRORS  # noqa: PLC0415 - imports dlt; only where something failed

    if isinstance(error, click.ClickException):
        return error.message
    if isinstance(error, USER_ERRORS):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used: {error.strerror}. Check PENNYLANE_SYNC_HOME and the rights on it."
    kind = type(error).__name__
    return f"Something unforeseen happened ({kind}). Nothing is lost; run it again with --debug to see where."
