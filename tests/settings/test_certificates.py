"""Files that secure a connection: what can be wrong with them, and that it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kqworker.settings.certificates import fault

HERE = Path(__file__).parents[1] / "kq"
PAIR = {
    "ssl.certificate.location": str(HERE / "throwaway.pem"),
    "ssl.key.location": str(HERE / "throwaway-key.pem"),
    "ssl.key.password": "throwaway",
}


def test_what_holds_what_it_should_has_no_fault() -> None:
    assert fault({"ssl.ca.location": PAIR["ssl.certificate.location"], **PAIR}) is None
    assert fault({}) is None


@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.key.location", "ssl.crl.location"])
def test_a_file_that_is_missing_is_named_by_its_property(name: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing.pem")

    assert fault({**PAIR, name: missing}) == (name, "cannot be read: No such file or directory")


def test_a_name_that_no_file_can_have_is_a_fault() -> None:
    assert fault({"ssl.ca.location": "a\0b"}) == (
        "ssl.ca.location",
        "cannot be read: embedded null byte",
    )


@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.certificate.location"])
def test_a_file_without_certificates_is_named(name: str, tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")

    assert fault({**PAIR, name: str(nonsense)}) == (name, "holds no certificates in PEM's form")


@pytest.mark.parametrize(
    "wrong",
    [
        {"ssl.key.password": ""},
        {"ssl.key.password": "another"},
        {"ssl.key.password": "x" * 2000},
        {"ssl.key.location": PAIR["ssl.certificate.location"]},
    ],
)
def test_a_key_that_does_not_fit_is_named(wrong: dict[str, str]) -> None:
    found = fault({**PAIR, **wrong})

    assert found is not None
    assert found[0] == "ssl.key.location"
    assert "holds no key in PEM's form to" in found[1]
