from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.exclusion_ids import LARGEST_ID, MalformedIds, parse_account_ids

PAGE = "https://app.pennylane.com/companies/1234/customers"

ids = st.integers(1, LARGEST_ID)
parameters = st.lists(
    st.tuples(
        st.sampled_from(["tab", "filter", "sort", "customer_id", "columns"]), st.text("abé,&=? 12%#/:", max_size=12)
    ),
    max_size=3,
)


@st.composite
def addresses(draw: st.DrawFn, account_id: int) -> str:
    """A customer page with other parameters around the id, as a browser would write it."""
    pairs = [*draw(parameters), ("id", str(account_id))]
    query = "&".join(f"{name}={quote(value, safe='/:')}" for name, value in draw(st.permutations(pairs)))
    fragment = draw(st.sampled_from(["", "#", "#invoices", "#id=7"]))
    slash = draw(st.sampled_from(["", "/"]))
    return f"{PAGE}{slash}?{query}{fragment}"


@st.composite
def pasted(draw: st.DrawFn) -> tuple[str, list[int]]:
    expected = draw(st.lists(ids, max_size=8))
    text = draw(st.sampled_from(["", " ", "\n"]))
    for account_id in expected:
        text += draw(st.one_of(st.just(str(account_id)), addresses(account_id)))
        text += draw(st.sampled_from([",", ", ", " ,", "\n", ",\n", "\r\n", " , \n"]))
    return text, expected


@given(pasted())
def test_ids_and_addresses_mixed_are_read_in_order_each_once(case: tuple[str, list[int]]) -> None:
    text, expected = case
    assert parse_account_ids(text) == list(dict.fromkeys(expected))


@given(pasted(), st.text(min_size=1).filter(lambda text: text.strip() and not set(text) & set(",0123456789")))
def test_one_bad_piece_refuses_everything(case: tuple[str, list[int]], bad: str) -> None:
    text, _ = case
    with pytest.raises(MalformedIds):
        parse_account_ids(f"{text},\n{bad}")


@given(st.text())
def test_any_text_is_either_understood_or_refused(text: str) -> None:
    try:
        found = parse_account_ids(text)
    except MalformedIds as error:
        assert error.pieces
    else:
        assert all(1 <= account_id <= LARGEST_ID for account_id in found)


@pytest.mark.parametrize("text", ["", "  ", "\n\n", ",", " , "])
def test_empty_text_excludes_nothing(text: str) -> None:
    assert parse_account_ids(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("193957360", [193957360]),
        ("1,2,3", [1, 2, 3]),
        ("1, 2 ,\n3,", [1, 2, 3]),
        ("3,1,3", [3, 1]),
        ("https://app.pennylane.com/.../customers?id=193957360", [193957360]),
        ("app.pennylane.com/companies/1/customers?id=5", [5]),
        ("customers?id=5", [5]),
        (f"{PAGE}?id=5,{PAGE}?id=6", [5, 6]),
        (f"{PAGE}?id=5 {PAGE}?id=6", [5, 6]),
        (f"{PAGE}?id=5,6", [5, 6]),
        (f"{PAGE}?columns=name,vat&id=5, 6", [5, 6]),
        (f"{PAGE}?id=5&columns=name,vat\n6", [5, 6]),
        (f"{PAGE}?id=%35%36", [56]),
        (quote(f"{PAGE}?id=5"), [5]),
        (quote(f"{PAGE}?id=5", safe=""), [5]),
        (str(LARGEST_ID), [LARGEST_ID]),
    ],
)
def test_what_people_paste_is_understood(text: str, expected: list[int]) -> None:
    assert parse_account_ids(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-5",
        "+5",
        "007",
        "1.5",
        "1e3",
        "1_000",
        "193 957 360",
        "193\u00a0957\u00a0360",
        "1;2",
        "٣",
        "²",
        "ACME",
        str(LARGEST_ID + 1),
        "9" * 5000,
        "https://app.pennylane.com/companies/1/suppliers?id=5",
        "https://app.pennylane.com/companies/1/customers",
        "https://app.pennylane.com/companies/1/notcustomers?id=5",
        "https://app.pennylane.com/companies/1/customers?id=",
        "https://app.pennylane.com/companies/1/customers?id=5&id=6",
        "https://app.pennylane.com/companies/1/customers?id=5x",
        "https://app.pennylane.com/companies/1/customers#id=5",
        "https://[broken/customers?id=5",
        f"{PAGE}?id=5,foo",
        f"12 {PAGE}?id=5",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(MalformedIds):
        parse_account_ids(text)


def test_the_error_names_each_bad_piece_and_shows_an_example() -> None:
    with pytest.raises(MalformedIds) as caught:
        parse_account_ids("1, ACME, 2, DUPONT & Fils")
    assert caught.value.pieces == ["ACME", "DUPONT & Fils"]
    assert "'ACME', 'DUPONT & Fils'" in str(caught.value)
    assert "customers?id=" in str(caught.value)


def test_the_error_cannot_steer_the_terminal_nor_fill_it() -> None:
    with pytest.raises(MalformedIds) as caught:
        parse_account_ids("\x1b]0;owned\x07" + "x" * 10_000)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 500
