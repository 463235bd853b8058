"""One table of settings; a stronger layer decides; every mistake is named with its origin."""

from __future__ import annotations

import pickle

import pytest

from kqworker.errors import ConfigError
from kqworker.settings.settings import SETTINGS, Given, Settings, flatten, layer, resolve


def test_nothing_given_leaves_the_defaults() -> None:
    resolved = resolve([])

    assert resolved.settings == Settings()
    assert set(resolved.origins.values()) == {"default"}
    assert resolved.settings.commit_interval == 1.0
    assert resolved.settings.prefetch_bytes == 64 * 1024 * 1024


def test_every_default_is_one_that_its_parser_takes() -> None:
    for setting in SETTINGS.values():
        if setting.parse is not None:
            assert setting.parse(setting.default) == setting.default, setting.name


def test_the_first_layer_that_has_a_value_decides() -> None:
    resolved = resolve(
        [
            layer({"workers": "4"}, "--workers"),
            layer({"workers": "3", "group": "b"}, "file"),
            layer({"workers": 2, "group": "c", "offset": "latest"}, "App(...)"),
        ]
    )

    assert resolved.settings.workers == 4
    assert resolved.settings.group == "b"
    assert resolved.settings.offset == "latest"
    assert resolved.origins["workers"] == "--workers"
    assert resolved.origins["group"] == "file"
    assert resolved.origins["offset"] == "App(...)"
    assert resolved.origins["members"] == "default"


def test_none_given_on_purpose_beats_a_weaker_value() -> None:
    resolved = resolve([layer({"time_limit": "none"}, "a"), layer({"time_limit": 5}, "b")])

    assert resolved.settings.time_limit is None
    assert resolved.origins["time_limit"] == "a"


def test_kafka_properties_of_all_layers_come_together() -> None:
    resolved = resolve(
        [
            layer({"kafka.client.id": "x"}, "-X"),
            layer({"kafka": {"client.id": "y", "check.crcs": True, "linger.ms": 5}}, "file"),
        ]
    )

    assert resolved.settings.kafka == {"client.id": "x", "check.crcs": "true", "linger.ms": "5"}
    assert resolved.origins["kafka.client.id"] == "-X"
    assert resolved.origins["kafka.check.crcs"] == "file"


def test_a_bad_value_is_named_with_key_value_origin_and_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([{"workers": Given("many", "kqworker.yaml:3")}])

    assert str(caught.value) == (
        "kqworker.yaml:3: workers must be a whole number of at least 1, or auto, not 'many'"
    )


@pytest.mark.parametrize("name", ["workers", "kafka.client.id"])
def test_a_bad_value_that_fills_the_memory_is_not_shown_whole(name: str) -> None:
    # A few lines of YAML, by its anchors.
    value: list[object] = []
    for _ in range(40):
        value = [value] * 9

    with pytest.raises(ConfigError) as caught:
        resolve([{name: Given(value, "a.yaml:9")}])

    assert str(caught.value).startswith(f"a.yaml:9: {name} must be ")
    assert len(str(caught.value)) < 1_000


def test_an_unknown_key_is_named_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([{"worker": Given(4, "kqworker.yaml:1"), "zzz": Given(1, "kqworker.yaml:2")}])

    assert str(caught.value) == (
        "kqworker.yaml:1: there is no setting 'worker' (did you mean 'workers'?)\n"
        "kqworker.yaml:2: there is no setting 'zzz'"
    )


def test_a_bad_value_that_a_stronger_layer_hides_is_still_a_mistake() -> None:
    with pytest.raises(ConfigError, match="members must be"):
        resolve([layer({"members": 2}, "flag"), layer({"members": 0}, "file")])


def test_kafka_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(ConfigError, match="f:1: kafka must be a mapping"):
        resolve([{"kafka": Given(None, "f:1")}])


def test_a_secret_is_not_shown_by_an_error() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve([layer({"kafka": {"sasl.password": ["hunter2"]}}, "f")])

    assert str(caught.value) == (
        "f: kafka.sasl.password must be text, a number, true or false, not ********"
    )


def test_a_secret_is_shown_neither_in_rows_nor_in_the_repr() -> None:
    resolved = resolve(
        [layer({"kafka": {"sasl.password": "hunter2", "sasl.username": "ann"}}, "f")]
    )

    assert ("kafka.sasl.password", "********", "f") in resolved.rows()
    assert ("kafka.sasl.username", "ann", "f") in resolved.rows()
    assert "hunter2" not in repr(resolved.settings)
    assert "hunter2" not in repr(resolved)


def test_rows_show_every_setting_as_one_would_write_it() -> None:
    rows = {name: value for name, value, _ in resolve([layer({"brokers": "a:1,b:2"}, "f")]).rows()}

    assert rows["brokers"] == "a:1,b:2"
    assert rows["group"] == "none"
    assert rows["topics"] == "all"
    assert rows["exclude_topics"] == "none"
    assert rows["prefetch_bytes"] == "64MiB"
    assert rows["reload"] == "false"
    assert rows["shutdown_timeout"] == "30"
    assert set(rows) == set(SETTINGS) - {"kafka"}


def test_options_and_variables_come_from_the_names() -> None:
    assert SETTINGS["commit_interval"].option == "--commit-interval"
    assert SETTINGS["commit_interval"].variable == "KQWORKER_COMMIT_INTERVAL"
    assert SETTINGS["kafka"].option == "-X"


def test_short_options_are_all_different() -> None:
    shorts = [s.short for s in SETTINGS.values() if s.short]

    assert len(shorts) == len(set(shorts))


def test_only_what_is_under_kafka_is_flattened() -> None:
    assert dict(flatten({"topics": {"a": 1}})) == {"topics": {"a": 1}}


def test_settings_survive_pickling() -> None:
    settings = resolve([layer({"kafka": {"client.id": "x"}}, "f")]).settings

    assert pickle.loads(pickle.dumps(settings)) == settings
