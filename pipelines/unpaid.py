"""What is still to be paid, as SQL on invoices; views, lateness, the order of details and Postgres's indexes agree."""

UNPAID = (
    "NOT COALESCE(draft, FALSE) AND NOT COALESCE(paid, FALSE) "
    "AND COALESCE(status, '') NOT IN ('cancelled', 'archived', 'paid')"
)
NOT_YET_LATE = f"{UNPAID} AND COALESCE(status, '') <> 'late'"
"""Unpaid, and not late when it was read."""
