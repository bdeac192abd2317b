"""Customers and contacts, one at a time: for the seeded books and for changes alike."""

import random

from sandbox.generator import vocabulary as words
from sandbox.records import Contact, Customer


def make_contact(rng: random.Random, id_: int, now: int) -> Contact:
    """A contact; everything about it may be an empty string, as nothing is required in Pennylane."""
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    return Contact(
        id=id_,
        first_name=first if rng.random() < 0.9 else "",
        last_name=last,
        role=rng.choice(words.ROLES),
        email=_email(rng, first, last) if rng.random() < 0.9 else "",
        telephone_number=_phone(rng) if rng.random() < 0.5 else "",
        mobile_number=_phone(rng) if rng.random() < 0.4 else "",
        created_at=now,
        updated_at=now,
    )


def make_customer(rng: random.Random, id_: int, now: int, *, individual: bool | None = None) -> Customer:
    """A company, or (one in five unless told) an individual."""
    is_person = rng.random() < 0.2 if individual is None else individual
    first, last = rng.choice(words.FIRST_NAMES), rng.choice(words.LAST_NAMES)
    company = f"{rng.choice(words.TRADES)} {last} {rng.choice(words.SUFFIXES)}".strip()
    reg_no = str(rng.randrange(300_000_000, 999_999_999))
    address = _address(rng)
    return Customer(
        id=id_,
        individual=is_person,
        name=f"{first} {last}" if is_person else company,
        first_name=first if is_person else "",
        last_name=last if is_person else "",
        reg_no="" if rng.random() < 0.15 else reg_no,
        vat_number="" if rng.random() < 0.25 else f"FR{rng.randrange(10, 99)}{reg_no}",
        payment_conditions=rng.choice(tuple(words.PAYMENT_TERMS)),
        emails=[_email(rng, first, last) for _ in range(rng.choice((0, 1, 1, 1, 2)))],
        phone=_phone(rng) if rng.random() < 0.6 else "",
        billing_iban=f"FR76{rng.randrange(10**22, 10**23)}" if rng.random() < 0.2 else None,
        recipient=f"{first} {last}" if rng.random() < 0.4 else "",
        reference=f"REF-{rng.randrange(10_000)}" if rng.random() < 0.3 else rng.choice((None, "")),
        notes=rng.choice((None, None, "", "Client historique : préférer le téléphone.\nNe pas relancer en août.")),
        ledger_account_id=id_ + 700_000_000 if rng.random() < 0.85 else None,
        billing_address=address,
        delivery_address=address if rng.random() < 0.5 else ("", "", "", ""),
        external_reference=_uuid(rng) if rng.random() < 0.8 else f"CLI-{id_}",
        billing_language="fr_FR" if rng.random() < 0.9 else rng.choice(("en_GB", "de_DE")),
        created_at=now,
        updated_at=now,
    )


def _address(rng: random.Random) -> tuple[str, str, str, str]:
    postal_code, city, country = rng.choice(words.CITIES)
    return f"{rng.randrange(1, 200)} {rng.choice(words.STREETS)}", postal_code, city, country


def _email(rng: random.Random, first: str, last: str) -> str:
    local = f"{first}.{last}".encode("ascii", "ignore").decode().lower().replace(" ", "-").replace("'", "")
    return f"{local}{rng.randrange(1000)}@{rng.choice(words.MAIL_DOMAINS)}"


def _phone(rng: random.Random) -> str:
    return f"+33{rng.randrange(1, 10)}{rng.randrange(10**8):08d}"


def _uuid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"
