from tests.homes import sandbox

__all__ = ["sandbox"]
