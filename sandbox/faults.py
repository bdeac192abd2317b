"""Faults that a test asks for: answers that are late, wrong, cut or not an API's at all."""

import random
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

FaultKind = Literal["status", "latency", "cut", "reset", "truncated_json", "html", "plain", "changed"]


@dataclass
class Fault:
    """Applies to requests whose path matches, after the first `skip` ones, `times` times (None: for ever).

    - `status`: that status with an error body as Pennylane's; `plain`: the same as plain text; neither is carried out
    - `html`: a web page with status 200, as a captive portal or a maintenance page would give
    - `latency`: the true answer, `seconds` later
    - `cut`: carried out, but the connection closes in the middle of the answer
    - `reset`: carried out, but the connection is reset in the middle of the answer
    - `truncated_json`: carried out, and a complete answer whose JSON ends half way
    - `changed`: the true answer, with the fields in `body` set and those in `body_without` taken out; so are `item` and
      `item_without` in each of its items, or in those with an id among `only_ids`
    """

    path: str
    kind: FaultKind
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 2.0
    times: int | None = 1
    skip: int = 0
    probability: float | None = None
    body: dict[str, Any] = field(default_factory=dict)
    body_without: list[str] = field(default_factory=list)
    item: dict[str, Any] = field(default_factory=dict)
    item_without: list[str] = field(default_factory=list)
    only_ids: list[int] = field(default_factory=list)
    id: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(FaultKind):
            raise ValueError(f"unknown kind of fault {self.kind!r}; there are {', '.join(get_args(FaultKind))}")
        try:
            re.compile(self.path)
        except re.error as error:
            raise ValueError(f"path is not a regular expression: {error}") from error

    def changed(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What `changed` makes of an answer."""
        changed = _with(answer, self.body, self.body_without)
        if isinstance(answer.get("items"), list) and "items" not in self.body:
            changed["items"] = [
                _with(one, self.item, self.item_without) if not self.only_ids or one["id"] in self.only_ids else one
                for one in answer["items"]
            ]
        return changed


def _with(record: dict[str, Any], fields: dict[str, Any], without: list[str]) -> dict[str, Any]:
    return {name: value for name, value in {**record, **fields}.items() if name not in without}


class Faults:
    def __init__(self, seed: int) -> None:
        self._faults: list[Fault] = []
        self._last_id = 0
        self._random = random.Random(seed)  # noqa: S311

    def add(self, fault: Fault) -> int:
        self._last_id += 1
        fault.id = self._last_id
        self._faults.append(fault)
        return fault.id

    def clear(self) -> None:
        self._faults.clear()

    def list(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def strike(self, path: str) -> Fault | None:
        """The fault to apply to a request, if any; it is used up by that."""
        for fault in self._faults:
            if fault.times == 0 or not re.search(fault.path, path):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.probability is not None and self._random.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None
