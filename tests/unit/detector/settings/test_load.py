"""Environment over TOML over defaults, and every fault with the name of its setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.compose import open_bundle
from detector.errors import ConfigError
from detector.model.bundle import BUILTIN
from detector.settings.load import load, names_and_values
from tests.unit.detector.settings.files import RECEIVERS, ROUTES, written


def test_the_environment_overrides_the_file_and_the_file_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[kafka]\ntopics = ["a"]\ngroup_id = "from-file"\n[recovery]\ninterval = 5\n'
    )
    monkeypatch.setenv("DETECTOR_KAFKA__TOPICS", "b, c")
    settings = load(file)
    assert settings.kafka.topics == ("b", "c")
    assert settings.kafka.group_id == "from-file"
    assert settings.recovery.interval == 5
    assert settings.web.listen == "127.0.0.1:8080"


def test_builtin_is_a_word_for_the_built_in_bundle_and_not_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_bundle(load()).path == BUILTIN
    monkeypatch.setenv("DETECTOR_MODEL__BUNDLE", "builtin")
    assert (
        open_bundle(load(written(tmp_path, '[model]\nbundle = "of-the-file"\n'))).path
        == BUILTIN
    )
    monkeypatch.setenv("DETECTOR_MODEL__BUNDLE", "./builtin")
    assert load().model.bundle == Path("builtin")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DETECTOR_WEB__LISTEN", "nowhere"),
        ("DETECTOR_ALERTING__WEBHOOK_URL", "ftp://x"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "-1"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "nan"),
        ("DETECTOR_RECOVERY__STORE", "s3:bucket"),
        ("DETECTOR_KAFKA__TOPICS", "^(a"),
        ("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", "kafka:9092,kafka:port"),
        ("DETECTOR_KAFKA__SECURITY_PROTOCOL", "SASL_SSL"),
        ("DETECTOR_KAFKA__TOPIC", "misspelt"),
        ("DETECTOR_MODEL__TIMEZONE", "Europe/Atlantis"),
        ("DETECTOR_MODEL__TIMEZONES", "^eu- Europe/Berlin"),
        ("DETECTOR_ALERTING__WEBHOOK_HEADERS", "X-Scope: sc0pe"),
        ("DETECTOR_KAFKA__SASL_PLAIN_PASSWORD_FILE", "/no/such/file"),
    ],
)
def test_a_faulty_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        load()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"FALSE_ALARMS_PER_WEEK": "1", "FALSE_ALARMS_PER_WEEK_TOTAL": "48"},
            "^DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK"
            " and DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL are both set",
        ),
        ({"FLEET_STREAMS": "240"}, "FALSE_ALARMS_PER_WEEK_TOTAL, which is not set"),
        (
            {"FALSE_ALARMS_PER_WEEK_TOTAL": "0"},
            "DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL",
        ),
        (
            {"FALSE_ALARMS_PER_WEEK_TOTAL": "48", "FLEET_STREAMS": "0"},
            "DETECTOR_ALERTING__FLEET_STREAMS",
        ),
    ],
)
def test_a_budget_is_given_in_one_way(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_ALERTING__{name}", value)
    with pytest.raises(ConfigError, match=sentence):
        load()


def test_a_fault_is_named_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(
        tmp_path,
        "shutdown_deadline = -1\n[model]\nmax_streams = 0\n"
        '[kafka]\nsecurity_protocol = "SASL_SSL"\n',
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    shutdown, streams, sasl = [
        f"{key} in {file}: "
        for key in ("shutdown_deadline", "model.max_streams", "kafka.security_protocol")
    ]
    assert all(named in str(caught.value) for named in (shutdown, streams, sasl))
    for name, value in (
        ("SHUTDOWN_DEADLINE", "-2"),
        ("MODEL__MAX_STREAMS", "-1"),
        ("KAFKA__GROUP_ID", "g"),
    ):
        monkeypatch.setenv(f"DETECTOR_{name}", value)
    with pytest.raises(ConfigError) as caught:
        load(file)
    named = (
        "DETECTOR_SHUTDOWN_DEADLINE: ",
        "DETECTOR_MODEL__MAX_STREAMS: ",
        f"kafka.security_protocol in {file}: SASL_SSL needs kafka.sasl_mechanism",
    )
    assert all(name in str(caught.value) for name in named)


@pytest.mark.parametrize("environment", [{}, {"DETECTOR_KAFKA__TOPICS": "a"}])
def test_a_value_with_the_name_of_a_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"^kafka in .*s\.toml is not a table"):
        load(written(tmp_path, "kafka = 3\n"))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("KAFKA__MAX_POLL_RECORDS", "many", "give a whole number from 1 to 1,000,000"),
        ("KAFKA__MAX_POLL_RECORDS", "0", "give a whole number from 1 to 1,000,000"),
        ("KAFKA__MAX_RECORD_BYTES", "1", "give a whole number, 64 or more"),
        ("RECOVERY__INTERVAL", "0", "give a number, over 0"),
        ("RECOVERY__INTERVAL", "soon", "give a number, over 0"),
        (
            "ALERTING__FALSE_ALARMS_PER_WEEK",
            "0",
            "give a number, over 0 and at most 10,000",
        ),
        ("KAFKA__SSL_CHECK_HOSTNAME", "perhaps", "give true or false"),
        ("LOG__LEVEL", "loud", "give debug, info, warning or error"),
        ("KAFKA__GROUP_ID", "", "it is empty: give a value"),
        (
            "KAFKA__BOOTSTRAP_SERVERS",
            "a:9092,kafka",
            "the port of 'kafka' is missing: write kafka:9092",
        ),
        (
            "KAFKA__BOOTSTRAP_SERVERS",
            "[::1]:",
            "the port of '[::1]:' is missing: write [::1]:9092",
        ),
        ("KAFKA__TOPICS", "a,b c", "no topic can have the name 'b c': use letters"),
        ("KAFKA__TOPICS", "..", "no topic can have the name '..': use letters"),
        ("ALERTING__STREAM_LABELS", "x", "the pattern has no named group"),
        (
            "KAFKA__SECURITY_PROTOCOL",
            "sasl_plaintext",
            "SASL_PLAINTEXT needs DETECTOR_KAFKA__SASL_MECHANISM",
        ),
        ("ALERTING__WEBHOOK_URL", "desk", "it is not a http:// or https:// address"),
    ],
)
def test_a_faulty_value_says_what_its_setting_takes(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(f"DETECTOR_{name}", value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert str(caught.value).startswith(f"DETECTOR_{name}: {sentence}")


def test_the_case_of_a_word_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTOR_LOG__LEVEL", "INFO")
    monkeypatch.setenv("DETECTOR_LOG__FORMAT", "Json")
    monkeypatch.setenv("DETECTOR_KAFKA__SECURITY_PROTOCOL", "ssl")
    monkeypatch.setenv("DETECTOR_KAFKA__SASL_MECHANISM", "gssapi")
    monkeypatch.setenv("DETECTOR_KAFKA__AUTO_OFFSET_RESET", "LATEST")
    settings = load()
    assert (settings.log.level, settings.log.format) == ("info", "json")
    kafka = settings.kafka
    assert (kafka.security_protocol, kafka.sasl_mechanism) == ("SSL", "GSSAPI")
    assert kafka.auto_offset_reset == "latest"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('[kafka]\ntopics = ["a"]\n[[kafka.topics]]\nname = "a"', "kafka.topics"),
        ('[[kafka.topics]]\nname = "a"\n[kafka]\ntopics = "a"', "kafka.topics"),
        ('kafka.topics = ["a"]\n[[kafka.topics]]\nname = "a"', "kafka.topics"),
        (
            "[alerting]\nreceivers = []\n[[alerting.receivers]]\nname = 'a'",
            "alerting.receivers",
        ),
    ],
)
def test_a_list_and_tables_of_one_name_are_refused_with_the_remedy(
    tmp_path: Path, text: str, name: str
) -> None:
    file = tmp_path / "s.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert f"it has both `{name}` = … and [[{name}]]: give each" in str(caught.value)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[kafka")
    with pytest.raises(ConfigError, match=r"s\.toml"):
        load(tmp_path / "s.toml")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("DETECTOR_KAFKA__TOPIC", "DETECTOR_KAFKA__TOPICS"),
        ("DETECTOR_ALERTING__WEBHOOK_ULR", "DETECTOR_ALERTING__WEBHOOK_URL"),
        ("DETECTOR_WEBHOOK_URL", "DETECTOR_ALERTING__WEBHOOK_URL"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=rf"no such setting: {name}: .* {nearest}\?"):
        load()


def test_a_variable_like_no_setting_gets_no_suggestion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DETECTOR_XYZZY", "x")
    with pytest.raises(ConfigError, match=r"no such setting: DETECTOR_XYZZY \("):
        load()


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ('[kafka]\ntopic = "a"\n', r"kafka\.topic", "topics"),
        ("[kafak]\n", "kafak", "kafka"),
        (
            ROUTES.replace("group_wait", "group_wate"),
            r"route 2 \(receiver desk\), group_wate",
            "group_wait",
        ),
        (
            ROUTES.replace("continue", "continues"),
            r"route 1 \(receiver pager\), continues",
            "continue",
        ),
    ],
)
def test_an_unknown_key_of_the_file_is_named_with_the_nearest(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    text = text if "routes" not in text else RECEIVERS + text
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert re.search(
        rf"no such setting: .*\b{key}( in \S+)?: did you mean {nearest}\?",
        str(caught.value),
    )


def test_of_a_topic_only_what_is_set_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text(
        '[[kafka.topics]]\nname = "a"\n[kafka.topics.mapping]\nstream = "{host}"\n'
    )
    shown = dict(names_and_values(load(file)))["DETECTOR_KAFKA__TOPIC_SETTINGS"]
    assert shown == "{name: a, mapping: {stream: {host}}}"
