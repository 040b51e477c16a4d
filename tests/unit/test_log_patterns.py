"""Filter patterns: what they match, what they refuse, and that neither takes long."""

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter.telemetry.logs.errors import InvalidParameterException
from lamplighter.telemetry.logs.pattern import parse_pattern
from lamplighter.telemetry.logs.pattern_fields import split

MANY = settings(max_examples=200, deadline=None, database=None)
WORDS = st.text("abcdeXYZ_019", min_size=1, max_size=6)
ACCESS = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


def matches(pattern: str, message: str) -> bool:
    parsed = parse_pattern(pattern)
    found = parsed.matches(message.encode())
    assert parsed.may_match(b"before\n" + message.encode() + b"\nbehind") or not found, "skipped what matches"
    return found


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("", "anything", True),
        ("  ", "", True),
        ("ERROR", "[ERROR] bad", True),
        ("error", "[ERROR] bad", False),
        ("ERROR bad", "bad ERROR", True),
        ("ERROR worse", "bad ERROR", False),
        ('"internal server"', "an internal server error", True),
        ('"internal server"', "an internal  server error", False),
        (r'"say \"hi\""', 'they say "hi"', True),
        ("ERROR -EXITING", "ERROR now", True),
        ("ERROR -EXITING", "ERROR EXITING", False),
        ("-DEBUG", "INFO", True),
        ("?ERROR ?WARN", "WARN x", True),
        ("?ERROR ?WARN", "INFO x", False),
        ("?ERROR INFO", "INFO x", True),
        ("übel", "wie übel", True),
    ],
)
def test_terms(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


EVENT = {
    "level": "ERROR",
    "n": 75,
    "f": 1.5,
    "yes": True,
    "none": None,
    "ip": "123.123.4.5",
    "user": {"name": "ada", "tags": ["x", {"k": 2}]},
    "dotted.name": "here",
    "dashed-name": 1,
}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{ $.level = "ERROR" }', True),
        ("{ $.level = ERROR }", True),
        ("{$.level=E*R}", True),
        ("{ $.level = ERR }", False),
        ("{ $.level != INFO }", True),
        ("{ $.missing != INFO }", False),
        ("{ $.ip != 123.123.* }", False),
        ("{ $.ip = 123.123.* }", True),
        ("{ $.n = 75 }", True),
        ("{ $.n = 7.5e1 }", True),
        ('{ $.n = "75" }', True),
        ("{ $.n > 74 && $.n <= 75 }", True),
        ("{ $.n < 75 || $.f >= 1.5 }", True),
        ("{ $.level > 3 }", False),
        ("{ $.yes IS TRUE }", True),
        ("{ $.yes IS FALSE }", False),
        ("{ $.none IS NULL }", True),
        ("{ $.missing IS NULL }", False),
        ("{ $.missing NOT EXISTS }", True),
        ("{ $.none NOT EXISTS }", False),
        ('{ $.user.name = "ada" }', True),
        ("{ $.user.tags[0] = x }", True),
        ("{ $.user.tags[1].k = 2 }", True),
        ("{ $.user.tags[7] = 2 }", False),
        ("{ $.['dotted.name'] = here }", True),
        ("{ $.dashed-name = 1 }", True),
        ("{ ($.n = 1 || $.n = 75) && ($.level = ERROR) }", True),
        ("{ $.n = 75 && $.n = 1 || $.level = ERROR }", True),
        ("{ $.user = * }", False),
    ],
)
def test_json(pattern: str, expected: bool) -> None:
    assert matches(pattern, json.dumps(EVENT)) is expected
    assert not matches(pattern, "no JSON " + json.dumps(EVENT))


@pytest.mark.parametrize("written", [r'{"level": "\u0045RROR"}', r'{"l\u0065vel": "ERROR"}', '{"level" :"ERROR"}'])
def test_json_that_is_written_otherwise_matches_too(written: str) -> None:
    assert matches('{ $.level = "ERROR" }', written)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code]", False),
        ("[ip, user, username, timestamp, request=*.html*, status_code=4*, bytes]", True),
        ('[ip, user, username, timestamp, request="GET /index.html*", status_code=404, bytes>1000]', True),
        ("[ip, user, username, timestamp, request, status_code, bytes<1000]", False),
        ("[..., status_code=404, bytes]", True),
        ("[ip=127.0.0.1, ...]", True),
        ("[ip, ..., bytes>=1534]", True),
        ("[...]", True),
        ("[ip, user, ..., a, b, c, d, e, f]", False),
        ("[ip = 127.0.0.1 || ip = 10.*, ...]", True),
        ("[ip = 10.* && ip != 127*, ...]", False),
        ("[(ip = 1* && ip = *1) || ip = x, ...]", True),
        ("[..., status_code != 200, bytes]", True),
    ],
)
def test_fields(pattern: str, expected: bool) -> None:
    assert matches(pattern, ACCESS) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        *('"open', "-", "?", '""', "a:b", "%a.*", "%%", "50%", "%a% b:c"),
        *("{", "{}", "{ $.a }", "{ $ = 1 }", "{ $.a = }", "{ $.a = 1", "{ $.a = 1 } b", "{ $.a > x }", "{ $.a ~ 1 }"),
        *(
            "{ $.a = 1 && }",
            "{ $.a[x] = 1 }",
            "{ a = 1 }",
            "{ " + "(" * 40 + "$.a = 1" + ")" * 40 + " }",
            "{ $.a > %x% }",
            "{ $.a = %x }",
            "{ $.a = %x% && $.b = %y% && $.c = %z% }",
        ),
        *("[", "[]", "[a", "[a,,b]", "[..., a, ...]", "[a=]", "[a] b", "[a > x]", "[a > %x%]"),
        *("%something!%", "%(a)%", "%ü%", "%a**%", "%*a%", "%a^b%", "%a$b%", "%a|%", "%[]%", "%[z-a]%", "%a{2,1}%"),
        *(r"%\q%", r"%\xff%", "%a{9999}%", "%[a%"),
    ],
)
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameterException):
        parse_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "message", "expected"),
    [
        ("%AUTHORIZED%", "[ERROR 401] UNAUTHORIZED REQUEST\n", True),
        (r"%\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}%", "from 10.1.2.3 to", True),
        (r"%\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}%", "from 10.1.2 to", False),
        ("%[Ee]rror|[Ff]ail%", "did fail", True),
        ("%^[hc]at%", "a hat", False),
        ("%[hc]at$%", "a hat\n", True),
        ("%[hc]at$%", "hats\n", False),
        ("%colou?r%", "the color", True),
        ("%ab{2,}c%", "abc", False),
        (r"%\[ERROR\]%", "[ERROR] x", True),
        (r"%a\x3Ab%", "a:b", True),
        (r"%a\%b%", "a%b", True),
        ("%^.$%", "ü", True),
        ("%a.c% x", "abc x", True),
        ("?%a.c% ?%x$%", "x", True),
        ("ERROR -%40[0-9]%", "ERROR 403", False),
        ("ERROR -%40[0-9]%", "ERROR 500", True),
        ("{ $.a = %^b% && $.c != %d$% }", '{"a": "bc", "c": "de"}', True),
        ("{ $.a = %^b% && $.c != %d$% }", '{"a": "bc", "c": "ed"}', False),
        ("{ $.code = %^4% }", '{"code": 404}', True),
        ("{ $.missing != %x% }", "{}", False),
        ("[w1=%ERR|WARN%, w2!=%^5%, ...]", "a_WARN 404 x", True),
        ("[w1=%ERR|WARN%, w2!=%^5%, ...]", "a_WARN 504 x", False),
    ],
)
def test_expressions(pattern: str, message: str, expected: bool) -> None:
    assert matches(pattern, message) is expected


ATOM = st.sampled_from(
    ["a", "b", "-", "_", ".", "[ab]", "[^a]", "[a-c_]", r"\d", r"\D", r"\s", r"\S", r"\w", r"\W", r"\."]
)
REPEATED = st.sampled_from(["", "", "?", "*", "+", "{2}", "{0,2}", "{1,}", "{0,}", "{1,3}"])
SEQUENCE = st.lists(st.tuples(ATOM, REPEATED).map("".join), min_size=1, max_size=6).map("".join)
EXPRESSION = st.lists(
    st.tuples(st.sampled_from(["", "^"]), SEQUENCE, st.sampled_from(["", "$"])).map("".join), min_size=1, max_size=3
).map("|".join)


@settings(max_examples=200, deadline=None, database=None)
@given(EXPRESSION, st.lists(st.text("abc-_.1 ü€😀", max_size=12), min_size=1, max_size=4))
def test_expressions_mean_what_pythons_mean(expression: str, messages: list[str]) -> None:
    pattern = parse_pattern(f"%{expression}%")
    for message in messages:
        expected = re.search(expression, message, re.ASCII) is not None
        assert pattern.matches(message.encode()) is expected, message
        assert pattern.may_match(b"before\n" + message.encode()) or not expected, "skipped what matches"


def test_a_term_with_other_characters_is_refused_by_name() -> None:
    with pytest.raises(InvalidParameterException, match=r"Invalid character\(s\) in term 'a:b'"):
        parse_pattern("x a:b y")


@MANY
@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        parsed = parse_pattern(text)
    except InvalidParameterException:
        return
    parsed.matches(b"some message")


@MANY
@given(st.lists(WORDS, max_size=4), st.lists(WORDS, max_size=2), st.lists(WORDS, max_size=8))
def test_terms_mean_contains(wanted: list[str], unwanted: list[str], message: list[str]) -> None:
    text = " ".join(message)
    expected = all(word in text for word in wanted) and not any(word in text for word in unwanted)
    assert matches(" ".join([*wanted, *(f"-{word}" for word in unwanted)]), text) is expected


@MANY
@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_wildcards_mean_any_text(pattern: str, text: str) -> None:
    def like(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(like(pattern[1:], text[at:]) for at in range(len(text) + 1))
        return text[:1] == pattern[0] and like(pattern[1:], text[1:])

    assert matches(f'{{ $.a = "{pattern}" }}', json.dumps({"a": text})) is like(pattern, text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=1), inner, max_size=3)
    ),
)


@MANY
@given(
    JSON,
    st.sampled_from(["a", "a.b", "b[0]", "a.b.c"]),
    st.sampled_from(["=", "!=", "<", ">", "<=", ">="]),
    st.integers(-5, 5),
)
def test_numbers_are_compared_where_the_selector_leads(document: Any, path: str, operator: str, limit: int) -> None:
    value = document
    for step in path.replace("[0]", ".0").split("."):
        if step == "0":
            value = value[0] if isinstance(value, list) and value else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = isinstance(value, str | bool)
    compared = number and {
        "=": value == limit, "!=": value != limit, "<": value < limit,
        ">": value > limit, "<=": value <= limit, ">=": value >= limit,
    }[operator]  # fmt: skip
    by_text = text and operator in ("=", "!=") and ((str(value) == str(limit)) is (operator == "="))
    expected = bool(compared or by_text) and isinstance(document, dict | list)
    assert matches(f"{{ $.{path} {operator} {limit} }}", json.dumps(document)) is expected


def test_quotes_and_brackets_make_one_field() -> None:
    assert split(ACCESS) == [
        *("127.0.0.1", "-", "frank", "10/Oct/2000:13:25:15 -0700", "GET /index.html HTTP/1.0", "404", "1534")
    ]
    assert split('a "b c') == ["a", '"b', "c"]
    assert split("[] x") == ["", "x"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("[a, ...]", "[ " * 200_000),
        ("[a, ...]", '"' + "[ " * 200_000),
        ("[a = " + "*a" * 200 + "b, ...]", "a" * 400_000),
        ('{ $.a = "' + "*a" * 200 + 'b" }', '{"a": "' + "a" * 400_000 + '"}'),
        ("{ $.a = 1 }", "[" * 400_000),
        ("%" + "a?" * 300 + "a{300}b%", "a" * 400_000),
        ("%" + "[ab]*a[ab]{14}c%", "abbabaab" * 30_000),
        (" ".join("?a" for _ in range(300)), "b" * 400_000),
    ],
)
def test_no_pattern_and_message_take_long(pattern: str, message: str) -> None:
    began = time.process_time()
    matches(pattern, message)
    assert time.process_time() - began < 2
