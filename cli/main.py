"""`pennylane-sync`: the commands, loaded when they are called, since some take seconds to import."""

import importlib
import sys
from typing import Any

import click

from cli.output import print_error

_COMMANDS = {
    "connect": "cli.connect",
    "activate": "cli.sync",
    "sync": "cli.sync",
    "accounts": "cli.accounts",
    "exclude": "cli.accounts",
    "include": "cli.accounts",
    "status": "cli.status",
    "disconnect": "cli.disconnect",
    "start": "cli.start",
    "demo": "cli.demo",
    "sandbox": "sandbox.command",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pennylane-sync")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(**_: Any) -> None:
    """A company's receivables out of Pennylane into its own database, and kept up to date."""


def main() -> None:
    """Runs a command; an error becomes one line and exit status 1 (2 for bad usage)."""
    try:
        cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        print_error("Stopped.")
        sys.exit(1)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except KeyboardInterrupt:
        print_error("Stopped. Nothing is lost: the next sync goes on from here.")
        sys.exit(1)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        print_error(_one_line(error))
        sys.exit(1)


def _one_line(error: Exception) -> str:
    from resources.installation import USER_ERRORS  # noqa: PLC0415 - imports dlt; only where something failed

    if isinstance(error, (click.ClickException, *USER_ERRORS)):
        return error.message if isinstance(error, click.ClickException) else str(error)
    return (
        f"Something unforeseen happened ({type(error).__name__}). Nothing is lost; run it again with "
        "`pennylane-sync --debug ...` to see where."
    )
