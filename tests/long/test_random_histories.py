"""Random histories of a company: whatever happens between syncs, the tables equal the truth after each."""

import random

import pytest

from sandbox.changes.randomly import change_randomly
from tests.long.tried import tried
from tests.pipelines.company import DAY, HOUR, WEEK
from tests.pipelines.conftest import MakeCompany

HISTORIES = 20
STEPS = 12
ENOUGH = 100_000  # requests: every contact and payment is read again in each sync


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_after_every_sync_of_a_random_history_the_tables_equal_the_truth(make_company: MakeCompany, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    company = make_company(customers=15, invoices=90, seed=seed)
    company.excluded = {chance.choice([one.id for one in company.world.customers])}
    company.sync()
    for step in range(STEPS):
        change_randomly(company.world, count=chance.randint(0, 12))
        gap = chance.choice([HOUR, HOUR, DAY, WEEK, 5 * WEEK])
        company.sync(full=chance.random() < 0.15, rotation=ENOUGH, after=gap)
        differences = company.differences()
        tried["random histories: syncs compared with the truth"] += 1
        tried["random histories: differences"] += len(differences)
        assert differences == [], f"seed {seed}, step {step}"
