"""`pennylane-sync sandbox`, also `python -m sandbox`: the stand-in in the foreground."""

import signal
from datetime import UTC, datetime
from types import FrameType

import click

from sandbox.clock import Clock
from sandbox.core import Sandbox, Settings
from sandbox.generator.books import make_worlds
from sandbox.limiter import DEFAULT_LIMIT, WINDOW_SECONDS
from sandbox.server import address, bind, make_server


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> datetime | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a time such as 2026-09-01T08:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8787, show_default=True, type=click.IntRange(0, 65535), help="0 picks a free port.")
@click.option(
    "--companies", default=2, show_default=True, type=click.IntRange(1, 1000), help="The first has the size asked for."
)
@click.option("--customers", default=200, show_default=True, type=click.IntRange(0))
@click.option("--invoices", default=2000, show_default=True, type=click.IntRange(0))
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same books.")
@click.option(
    "--now", callback=_moment, metavar="ISO", help="Time at which the sandbox's clock starts (default: the real time)."
)
@click.option("--latency-ms", default=0, show_default=True, type=click.IntRange(0), help="Wait before every answer.")
@click.option(
    "--rate-limit",
    default=DEFAULT_LIMIT,
    show_default=True,
    type=click.IntRange(0),
    help=f"Requests per {WINDOW_SECONDS} seconds and token; 0 for no limit.",
)
@click.option(
    "--live", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Something changes every so often."
)
@click.option("--control/--no-control", default=False, show_default=True, help="Serve /control, for tests.")
@click.option("--auto-approve", is_flag=True, help="The consent page approves by itself, for the first company.")
def sandbox(
    *,
    host: str,
    port: int,
    companies: int,
    customers: int,
    invoices: int,
    seed: int,
    now: datetime | None,
    latency_ms: int,
    rate_limit: int,
    live: float | None,
    control: bool,
    auto_approve: bool,
) -> None:
    """Serve a stand-in for Pennylane's Company API v2, with made-up companies."""
    settings = Settings(
        rate_limit=rate_limit,
        latency=latency_ms / 1000,
        control=control,
        auto_approve=auto_approve,
        live=live,
        seed=seed,
    )
    clock = Clock(now)
    try:
        listening = bind(host, port)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror}") from None
    worlds = make_worlds(clock, customers=customers, invoices=invoices, companies=companies, seed=seed)
    running = Sandbox(worlds, clock, settings)
    listening.listen(2048)  # whoever reads the address may connect at once
    click.echo(_introduction(running, address(listening)))
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, _ended)  # the server shuts down on them first, then passes them on to this
    make_server(running).run([listening])


def _ended(_signal: int, _frame: FrameType | None) -> None:
    """To be told to end is no failure: the exit status is 0."""


def _introduction(running: Sandbox, url: str) -> str:
    """What someone needs to point an integration here."""
    settings = running.settings
    lines = [
        f"Pennylane sandbox at {url}",
        "",
        "Point an integration at it:",
        f"  PENNYLANE_URL={url}",
        f"  PENNYLANE_CLIENT_ID={settings.client_id}",
        f"  PENNYLANE_CLIENT_SECRET={settings.client_secret}",
        "",
        "Or use a company API token instead of OAuth:",
    ]
    for world in running.worlds.values():
        lines.append(f"  {running.company_tokens[world.id]}  {world.name} (company {world.id}):")
        lines.append(f"    {len(world.customers):,} customers, {len(world.invoices):,} invoices and other documents")
    limit = f"{settings.rate_limit} requests per {WINDOW_SECONDS} s" if settings.rate_limit else "none"
    lines += ["", f"Rate limit per token: {limit}"]
    if settings.control:
        lines.append(f"Control address, no password: {url}/control")
    lines.append("Everything is in memory. Ctrl-C ends it.")
    return "\n".join(lines)
