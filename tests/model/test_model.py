"""Random lives of a company, the same ones at each run."""

import pytest
from hypothesis import HealthCheck, settings

from tests.model.machine import CompanyLife

TestCompanyLife = pytest.mark.timeout(900)(CompanyLife.TestCase)
TestCompanyLife.settings = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
