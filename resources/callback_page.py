"""The small page that the browser shows when Pennylane has sent it back."""

from enum import Enum


class Page(Enum):
    """What there is to say: HTTP status, sign, title, text."""

    ALLOWED = (
        200,
        "✓",
        "Pennylane said yes",
        "The access was allowed. Go back to the terminal, where the connection is completed. You can close this tab.",
    )
    REFUSED = (
        200,
        "–",
        "Access refused",
        "Nothing was connected. To try again, go back to the terminal. You can close this tab.",
    )
    FAILED = (
        200,
        "!",
        "Pennylane reported a problem",
        "Nothing was connected. Go back to the terminal: it says what to do. You can close this tab.",
    )
    USED = (400, "!", "Already answered", "This page was used before. Go back to the terminal.")
    NOT_OURS = (
        400,
        "!",
        "Not the answer we wait for",
        "It does not belong to the connection being made. Use the address that the terminal opened or shows.",
    )
    NOT_FOUND = (404, "?", "Nothing here", "This address only waits for an answer from Pennylane.")
    NOT_ALLOWED = (405, "?", "Not possible here", "This address only waits for an answer from Pennylane.")

    def __init__(self, status: int, sign: str, title: str, text: str) -> None:
        self.status = status
        self.sign = sign
        self.title = title
        self.text = text


_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark;
  --ink: #1c2321; --soft: #5b6864; --card: #fff; --ground: #eef3f1; --accent: {accent}; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #eef3f1; --soft: #a5b3ae; --card: #1e2624; --ground: #121716; }}
}}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink);
  font: 1.05rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }}
main {{ max-width: 27rem; margin: 1rem; padding: 2.6rem 2.4rem; border-radius: 1rem; background: var(--card);
  text-align: center; box-shadow: 0 1rem 3rem rgb(0 0 0 / .08); }}
.sign {{ display: inline-grid; place-items: center; width: 3.4rem; height: 3.4rem; border-radius: 50%;
  background: var(--accent); color: #fff; font-size: 1.7rem; font-weight: 700; }}
h1 {{ margin: 1.2rem 0 .5rem; font-size: 1.45rem; letter-spacing: -.01em; }}
p {{ margin: 0; color: var(--soft); }}
footer {{ margin-top: 1.8rem; font-size: .85rem; color: var(--soft); }}
</style>
</head>
<body>
<main>
<div class="sign" aria-hidden="true">{sign}</div>
<h1>{title}</h1>
<p>{text}</p>
<footer>pennylane-sync</footer>
</main>
</body>
</html>
"""


def page(shown: Page) -> str:
    """The whole HTML page; it holds nothing that came with a request."""
    accent = "#0b7a5b" if shown is Page.ALLOWED else "#a8552b"
    return _TEMPLATE.format(title=shown.title, sign=shown.sign, text=shown.text, accent=accent)
