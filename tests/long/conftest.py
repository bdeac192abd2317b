from tests.pipelines.conftest import make_company

__all__ = ["make_company"]
