"""What Pennylane accepts as proof that a company allowed the access."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, repr=False)
class Credential:
    """An OAuth pair, or a company API token alone (no refresh token, no expiry)."""

    access_token: str
    refresh_token: str | None = None
    expires_at: datetime | None = None
    """When the access token expires; None: never, or Pennylane did not say."""

    def __repr__(self) -> str:
        kind = "OAuth pair" if self.refresh_token else "token"
        return f"<Credential: {kind}, expires_at={self.expires_at}>"

    def expires_within(self, margin: timedelta, now: datetime) -> bool:
        """Whether the access token will have expired `margin` from `now`."""
        return self.expires_at is not None and self.expires_at - margin <= now

    def to_json(self) -> str:
        """The form that is encrypted and stored."""
        return json.dumps(
            {
                "access_token": self.access_token,
                "refresh_token": self.refresh_token,
                "expires_at": self.expires_at and self.expires_at.isoformat(),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Credential":
        """The reverse of `to_json`."""
        stored = json.loads(text)
        expires_at = stored["expires_at"]
        return cls(
            access_token=stored["access_token"],
            refresh_token=stored["refresh_token"],
            expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
        )
