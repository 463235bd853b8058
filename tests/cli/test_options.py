"""The options come from the table of settings, and become a layer with their origins."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from kqworker.cli import program
from kqworker.cli.options import flags, setting_options
from kqworker.errors import ConfigError
from kqworker.settings.settings import SETTINGS, Given, Layer


def layer_of(*args: str) -> Layer:
    found: list[Layer] = []

    @click.command()
    @setting_options()
    def command(config: str | None, **options: object) -> None:
        found.append(flags(options))

    result = CliRunner().invoke(command, args, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


def test_nothing_given_is_nothing_said() -> None:
    assert layer_of() == {}


def test_options_are_named_as_they_are_given() -> None:
    assert layer_of("-w", "3", "--shutdown-timeout=5", "--no-preload", "--reload") == {
        "workers": Given("3", "--workers"),
        "shutdown_timeout": Given("5", "--shutdown-timeout"),
        "preload": Given(False, "--preload"),
        "reload": Given(True, "--reload"),
    }


def test_lists_may_be_repeated() -> None:
    assert layer_of("-t", "a,b", "-t", "c", "-b", "x:1") == {
        "topics": Given(["a,b", "c"], "--topics"),
        "brokers": Given(["x:1"], "--brokers"),
    }


def test_kafka_properties_stand_on_their_own() -> None:
    assert layer_of("-X", "a.b=c=d", "-X", "e=") == {
        "kafka.a.b": Given("c=d", "-X a.b"),
        "kafka.e": Given("", "-X e"),
    }


@pytest.mark.parametrize("text", ["sasl.username", "=x", ""])
def test_a_property_without_a_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        flags({"kafka": (text,)})


def test_all_properties_without_a_value_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"^-X 'a': .*\n-X 'b': "):
        flags({"kafka": ("a", "c=d", "b")})


def test_every_setting_is_an_option_of_run_with_its_help() -> None:
    help = CliRunner().invoke(program, ["run", "--help"], terminal_width=200).stdout

    for setting in SETTINGS.values():
        assert setting.option in help
        assert setting.help.split(".")[0] in " ".join(help.split()), setting.name
