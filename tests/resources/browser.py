"""A person at a browser, as far as Pennylane's consent page needs one."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class _Form(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = attributes["action"]
        elif tag == "input" and attributes.get("type") == "hidden":
            self.fields[attributes["name"]] = attributes["value"]


class Browser:
    """Opens the consent page, picks a company, presses a button, and follows where it is sent."""

    def __init__(self, company_id: int, decision: str = "authorize") -> None:
        self._company_id = company_id
        self._decision = decision
        self.opened: list[str] = []
        self.shown: requests.Response | None = None

    def open(self, address: str) -> None:
        self.opened.append(address)
        page = requests.get(address, timeout=30)
        form = _Form()
        form.feed(page.text)
        pressed = {**form.fields, "company": str(self._company_id), "decision": self._decision}
        self.shown = requests.post(urljoin(page.url, form.action), data=pressed, timeout=30) if form.action else page
