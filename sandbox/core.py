"""The whole sandbox apart from HTTP: its companies, clock, tokens, limit, statistics and faults."""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.clock import Clock
from sandbox.faults import Faults
from sandbox.limiter import DEFAULT_LIMIT, Limiter
from sandbox.statistics import Statistics
from sandbox.tokens import Tokens, company_token
from sandbox.world import World

CLIENT_ID = "sandbox-client"
CLIENT_SECRET = "sandbox-secret"  # noqa: S105  # documented, and good for nothing but the sandbox


@dataclass(frozen=True)
class Settings:
    """How the sandbox behaves. `rate_limit` 0 means no limit, `live` the seconds between changes (None: none)."""

    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    rate_limit: int = DEFAULT_LIMIT
    latency: float = 0.0
    control: bool = False
    auto_approve: bool = False
    live: float | None = None
    seed: int = 1


class Sandbox:
    """One running stand-in. All companies share its clock."""

    def __init__(self, worlds: Sequence[World], clock: Clock, settings: Settings) -> None:
        if not worlds:
            raise ValueError("the sandbox needs a company")
        self.worlds = {world.id: world for world in worlds}
        self.clock = clock
        self.settings = settings
        self.tokens = Tokens(clock)
        self.limiter = Limiter(clock, settings.rate_limit)
        self.statistics = Statistics()
        self.faults = Faults(settings.seed)
        self.company_tokens = {
            world.id: self.tokens.add_company_token(world.id, token=company_token(settings.seed, world.id))
            for world in worlds
        }

    @property
    def world(self) -> World:
        """The first company."""
        return next(iter(self.worlds.values()))
