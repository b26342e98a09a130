"""An operator's queries on the command line, and their errors."""

from datetime import UTC, datetime

import pytest

from oncelog.cli.commands import parse_as_of
from oncelog.cli.filters import parse_hop, parse_where
from oncelog.domain.queries import Range
from oncelog.errors import InputInvalid
from oncelog.query.hops import Hop


@pytest.mark.parametrize(
    ("text", "hop"),
    [
        ("part_of", Hop("part_of")),
        ("^part_of", Hop("part_of", inward=True)),
        ("^located_in:Airport", Hop("located_in", inward=True, class_id="Airport")),
        ("part_of[/code=AT-9]", Hop("part_of", where={"/code": "AT-9"})),
        ("airports[/elevation>=12000]", Hop("airports", where={"/elevation": Range(at_least=12_000)})),
        (
            "x[/a>1.5,/a<=2,/b<3,/c=>4]",
            Hop("x", where={"/a": Range(above=1.5, at_most=2), "/b": Range(below=3), "/c": ">4"}),
        ),
        ("x[/a=Wien, Graz,/b=1]", Hop("x", where={"/a": "Wien, Graz", "/b": 1})),
        ('x[/a="1,/b=2",/c=3]', Hop("x", where={"/a": "1,/b=2", "/c": 3})),
        ('in:Airport[/iata="1",/runways=2]', Hop("in", class_id="Airport", where={"/iata": "1", "/runways": 2})),
    ],
)
def test_a_hop_is_a_predicate_its_direction_a_class_and_filters(text: str, hop: Hop):
    assert parse_hop(text) == hop


@pytest.mark.parametrize(
    "text",
    ["", "^", "a b", "part of", "^^x", "x:", "x[/a]", "x[a=1]", "x[/a={}]", "x:1", "x[/a>b]", "x[/a>=true]", "x[a>1]"],
)
def test_what_is_no_hop_is_refused(text: str):
    with pytest.raises(InputInvalid, match="expected"):
        parse_hop(text)


def test_values_are_json_or_else_text():
    given = ["/a=1", "/b=1.5", "/c=true", "/d=null", "/e=Lamp", '/f="1"', "/g=", "/h=a=b", "/i=NaN"]
    assert parse_where(given) == {
        "/a": 1, "/b": 1.5, "/c": True, "/d": None, "/e": "Lamp", "/f": "1", "/g": "", "/h": "a=b", "/i": "NaN",
    }  # fmt: skip


def test_bounds_of_a_path_are_one_range():
    assert parse_where(["/a>=1", "/a<3", "/b=x"]) == {"/a": Range(at_least=1, below=3), "/b": "x"}


@pytest.mark.parametrize("texts", [["/a>=1", "/a>=2"], ["/a=1", "/a=1"], ["/a=null", "/a>1"], ["/a>1", "/a=2"]])
def test_second_filter_of_a_path_is_refused(texts: list[str]):
    with pytest.raises(InputInvalid, match="of /a, found another before"):
        parse_where(texts)


@pytest.mark.parametrize("text", ["name=Lamp", "/name", "=1", "", "/tags=[1]"])
def test_what_is_no_filter_is_refused(text: str):
    with pytest.raises(InputInvalid, match="expected"):
        parse_where([text])


def test_as_of_takes_a_version_or_a_time():
    assert parse_as_of("12") == 12
    assert parse_as_of("2026-01-31T12:00:00Z") == datetime(2026, 1, 31, 12, tzinfo=UTC)
    for text in ("yesterday", "-1", "²", "2026-13-01"):
        with pytest.raises(InputInvalid, match="a version, or a time with its zone, such as"):
            parse_as_of(text)
