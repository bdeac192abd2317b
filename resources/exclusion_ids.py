"""Reads the account ids that a person pastes: numbers, or addresses of customer pages in Pennylane."""

import re
from urllib.parse import parse_qs, unquote, urlsplit

from resources.errors import PennylaneSyncError

LARGEST_ID = 2**63 - 1

_ID = re.compile(r"[1-9][0-9]{0,18}")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_SHOWN_CHARACTERS = 80
_EXAMPLE = "193957360, https://app.pennylane.com/companies/1/customers?id=193957361"


class MalformedIds(PennylaneSyncError):
    """Some of the text is not an account id; nothing of it was accepted."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        named = ", ".join(_shown(piece) for piece in pieces)
        super().__init__(
            f"Not a Pennylane account id: {named}. Nothing was changed. Give ids or addresses of customer pages,"
            f" separated by commas, such as: {_EXAMPLE}"
        )


def parse_account_ids(text: str) -> list[int]:
    """The account ids in `text`, in its order, each once; empty for empty text.

    Ids are separated by commas or line ends. Each is a number from 1 to 2**63 - 1, or a whole address whose path ends
    in `customers` and which has one parameter `id`: what Pennylane's customer page shows in the address bar. Digits
    with spaces between them are refused: `193 957 360` may be one id or three.

    Raises `MalformedIds`, which names every bad piece, unless all of the text is understood.
    """
    found: dict[int, None] = {}
    bad: list[str] = []
    for piece in _pieces(text):
        account_id = _account_id(piece)
        if account_id is None:
            bad.append(piece)
        else:
            found[account_id] = None
    if bad:
        raise MalformedIds(bad)
    return list(found)


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    for line in text.splitlines():
        pieces += [part for piece in _split_at_commas(line) for part in _split_addresses(piece.strip()) if part]
    return pieces


def _split_at_commas(line: str) -> list[str]:
    """Splits at commas, except those within an address: followed at once by what is neither an id nor an address."""
    pieces: list[str] = []
    for part in line.split(","):
        within_address = pieces and _ADDRESS.search(pieces[-1]) and not pieces[-1][-1:].isspace()
        if (
            within_address
            and part
            and not part[0].isspace()
            and not _ID.fullmatch(part.strip())
            and not _is_address(part)
        ):
            pieces[-1] += f",{part}"
        else:
            pieces.append(part)
    return pieces


def _split_addresses(piece: str) -> list[str]:
    """An address holds no space: several with spaces between them are several. Nothing else is split at spaces."""
    parts = piece.split()
    return parts if all(_is_address(part) for part in parts) else [piece]


def _is_address(piece: str) -> bool:
    return _ADDRESS.match(piece.strip()) is not None


def _account_id(piece: str) -> int | None:
    digits = piece if _ID.fullmatch(piece) else _id_in_address(piece) or _id_in_address(unquote(piece))
    if digits is None or not _ID.fullmatch(digits) or len(piece.split()) > 1:
        return None
    account_id = int(digits)
    return account_id if account_id <= LARGEST_ID else None


def _id_in_address(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        ids = parse_qs(parts.query, keep_blank_values=True).get("id", [])
    except ValueError:
        return None
    page = unquote(parts.path).rstrip("/").rpartition("/")[2]
    return ids[0] if page == "customers" and len(ids) == 1 else None


def _shown(piece: str) -> str:
    """Shortened, and with control characters written out, so that a pasted text cannot steer the terminal."""
    return repr(piece if len(piece) <= _SHOWN_CHARACTERS else f"{piece[:_SHOWN_CHARACTERS]}…")
