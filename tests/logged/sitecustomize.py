"""Python runs this at its start where its folder is on PYTHONPATH: all that any logger says is kept in a file.

At level debug, whatever levels a program sets, and also where it keeps its loggers from the terminal. Filters hold.
"""

import logging
import os
import threading
from pathlib import Path

FOLDER = "LOGGED_TO"
"""The variable that names the folder; each process has a file of its own in it."""


def log_everything(folder: Path) -> None:
    kept = logging.FileHandler(folder / f"{os.getpid()}.log", encoding="utf-8")
    kept.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    call_handlers, is_enabled_for = logging.Logger.callHandlers, logging.Logger.isEnabledFor
    refused = threading.local()  # the record that would not have been made but for us

    def enabled_for_us(self: logging.Logger, level: int) -> bool:
        if type(self) not in (logging.Logger, logging.RootLogger):  # Dagster's, which logs its events in any case
            return is_enabled_for(self, level)
        refused.record = None if is_enabled_for(self, level) else (self, level)
        return True

    def call_handlers_and_keep(self: logging.Logger, record: logging.LogRecord) -> None:
        kept.emit(record)
        if getattr(refused, "record", None) != (self, record.levelno):
            call_handlers(self, record)

    logging.Logger.callHandlers = call_handlers_and_keep  # type: ignore[method-assign]
    logging.Logger.isEnabledFor = enabled_for_us  # type: ignore[method-assign]


if os.environ.get(FOLDER):
    log_everything(Path(os.environ[FOLDER]))
