"""How single values are read: what is taken, and what is refused with which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kqworker.settings import values


@pytest.mark.parametrize(
    ("parse", "value", "result"),
    [
        (values.text, " a b ", "a b"),
        (values.flag, "Yes", True),
        (values.flag, "0", False),
        (values.flag_or_auto, " Auto", "auto"),
        (values.flag_or_auto, "no", False),
        (values.flag_or_auto, True, True),
        (values.flag, False, False),
        (values.whole(1), "12", 12),
        (values.whole(0), 0, 0),
        (values.seconds(0), "0.5", 0.5),
        (values.seconds(0), 3, 3.0),
        (values.size, "1.5KiB", 1536),
        (values.size, "2 gb", 2_000_000_000),
        (values.one_of("text", "json"), "JSON", "json"),
        (values.names, "a, b,a", ("a", "b")),
        (values.names, ["a", "b,c"], ("a", "b", "c")),
        (values.names, ["^a{1,2}"], ("^a{1,2}",)),
        (values.addresses, "a", ("a:9092",)),
        (values.addresses, ["a:1", "[::1]:9093"], ("a:1", "[::1]:9093")),
        (values.workers, "auto", "auto"),
        (values.workers, 3, 3),
        (values.limit, "none", None),
        (values.limit, 2, 2.0),
        (values.maybe(values.text), None, None),
    ],
)
def test_a_good_value_is_taken(parse: values.Parse[object], value: object, result: object) -> None:
    assert parse(value) == result


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (values.text, "  ", "text, not empty"),
        (values.text, 5, "text (put it in quotes)"),
        (values.text, "g\0two", "text without control characters"),
        (values.text, "g\ntwo", "text without control characters"),
        (values.flag, "maybe", "true or false"),
        (values.flag_or_auto, "maybe", "auto, true or false"),
        (values.flag, 1.5, "true or false"),
        (values.whole(1), 0, "a whole number of at least 1"),
        (values.whole(1), "1.5", "a whole number of at least 1"),
        (values.whole(1), True, "a whole number of at least 1"),
        (values.whole(1), "9" * 5000, "a whole number of at least 1"),
        (values.seconds(0), "-1", "a number of seconds of at least 0"),
        (values.seconds(0), "nan", "a number of seconds of at least 0"),
        (values.seconds(0), "inf", "a number of seconds of at least 0"),
        (values.seconds(0), True, "a number of seconds of at least 0"),
        (values.seconds(0), [1], "a number of seconds of at least 0"),
        (values.size, "64XB", "a number of bytes of at least 1, such as 67108864, 64MiB or 500KB"),
        (values.size, "0", "a number of bytes of at least 1, such as 67108864, 64MiB or 500KB"),
        (values.size, True, "a number of bytes of at least 1, such as 67108864, 64MiB or 500KB"),
        (values.one_of("a", "b", "c"), "d", "a, b or c"),
        (values.one_of("a", "b"), None, "a or b"),
        (values.names, "a,,b", "a list of names, none of them empty"),
        (values.names, {"a": 1}, "a list of names"),
        (values.names, [1], "a list of names"),
        (values.workers, "many", "a whole number of at least 1, or auto"),
        (values.limit, 0, "a number of seconds of at least 0.001, or none"),
    ],
)
def test_a_bad_value_is_refused_with_what_it_should_be(
    parse: values.Parse[object], value: object, expected: str
) -> None:
    with pytest.raises(ValueError) as caught:
        parse(value)

    assert str(caught.value) == expected


@pytest.mark.parametrize(
    "address", ["", "a:", "a:x", "a:0", "a:65536", "PLAINTEXT://a:9092", "a b:1", ":9092", 9092, {}]
)
def test_an_address_that_is_none_is_refused(address: object) -> None:
    with pytest.raises(ValueError, match="host:port"):
        values.addresses(address)


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "ssl.key.pem",
        "ssl_key",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "kafka.SASL.Password",
    ],
)
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert values.is_secret(name)


@pytest.mark.parametrize("name", ["sasl.username", "ssl.ca.location", "group", "brokers"])
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert not values.is_secret(name)


@given(st.integers(min_value=1, max_value=2**50))
def test_a_size_that_is_shown_reads_back(size: int) -> None:
    assert values.size(values.show_size(size)) == size
