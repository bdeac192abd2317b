import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that may take minutes, by a time limit of their own, begin first: nobody waits for one at the end."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
