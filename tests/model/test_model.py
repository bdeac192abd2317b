"""Random lives of a company, the same ones at each run."""

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.model.machine import CompanyLife, LifeThroughDlt

IN_CI = settings(
    max_examples=4,
    stateful_step_count=20,
    phases=[Phase.generate],  # a life that fails is told as it was; shrinking it takes longer than all the others
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

TestCompanyLife = pytest.mark.timeout(900)(CompanyLife.TestCase)
TestCompanyLife.settings = IN_CI

TestLifeThroughDlt = pytest.mark.timeout(900)(LifeThroughDlt.TestCase)
TestLifeThroughDlt.settings = settings(IN_CI, max_examples=2, stateful_step_count=8)
