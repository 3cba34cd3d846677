"""Environment over TOML over defaults; every fault names its setting; secrets stay
secret.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from detector.compose import open_bundle
from detector.errors import ConfigError
from detector.events import Alert, Partition, Reason, Severity
from detector.model.bundle import BUILTIN, load_bundle
from detector.model.settings import ModelSettings
from detector.settings.load import load, names_and_values
from tests.fakes import write_bundle


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


def test_a_secret_may_come_from_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("hunter2\n")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret")
    )
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    settings = load()
    assert settings.alerting.webhook_secret is not None
    assert settings.alerting.webhook_secret.get_secret_value() == "hunter2"
    shown = repr(settings) + str(dict(names_and_values(settings)))
    assert "hunter2" not in shown
    assert "token-9" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DETECTOR_WEB__LISTEN", "nowhere"),
        ("DETECTOR_ALERTING__WEBHOOK_URL", "ftp://x"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "-1"),
        ("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", "nan"),
        ("DETECTOR_RECOVERY__STORE", "s3:bucket"),
        ("DETECTOR_KAFKA__TOPICS", "^(a"),
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
    with pytest.raises(
        ConfigError, match=name if "PROTOCOL" not in name else "sasl_mechanism"
    ):
        load()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"USER": "u"}, "user and password are set together"),
        (
            {"USER": "u", "PASSWORD": "p4ss", "BEARER_TOKEN": "t0ken"},
            "give one of bearer_token",
        ),
        ({"BEARER_TOKEN": "t0ken\nX: y"}, "cannot be sent in a header"),
        ({"HEADERS": '{"a b": "x"}'}, "is not the name of a header"),
        ({"HEADERS": '{"idempotency-key": "x"}'}, "set by the daemon itself"),
        ({"TLS_KEY": "/k"}, "without tls_certificate"),
    ],
)
def test_a_receiver_that_contradicts_itself_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], sentence: str
) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    for name, value in settings.items():
        monkeypatch.setenv(f"DETECTOR_ALERTING__WEBHOOK_{name}", value)
    with pytest.raises(ConfigError, match=sentence) as caught:
        load()
    assert not any(
        secret in str(caught.value) for secret in ("token-9", "p4ss", "t0ken")
    )


def test_authorisation_comes_from_files_and_is_masked_to_the_last_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/token-9")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_BEARER_TOKEN_FILE", str(tmp_path / "token")
    )
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_HEADERS", '{"X-Scope": "sc0pe"}')
    settings = load()
    receiver = settings.alerting.webhook()
    assert receiver is not None
    assert receiver.sent_headers() == {
        "Authorization": "Bearer t0ken",
        "X-Scope": "sc0pe",
    }
    shown = repr(settings) + repr(receiver) + str(dict(names_and_values(settings)))
    assert not any(secret in shown for secret in ("token-9", "t0ken", "sc0pe"))


RECEIVERS = """
[alerting]
labels = {team = "core"}
stream_labels = "(?P<cluster>[^/]+)/.*"
[[alerting.receivers]]
name = "pager"
url = "https://pager/token-9"
bearer_token_file = "TOKEN"
headers = {X-Scope = "sc0pe"}
[[alerting.receivers]]
name = "desk"
url = "http://desk/"
"""
ROUTES = """
[[alerting.routes]]
receiver = "pager"
severity = "critical"
match = {team = "core"}
match_regex = {cluster = "eu|us"}
continue = true
repeat_interval = 3600
[[alerting.routes]]
receiver = "desk"
group_by = ["cluster"]
group_wait = 30
"""


def written(folder: Path, text: str) -> Path:
    (folder / "token").write_text("t0ken\n")
    file = folder / "s.toml"
    file.write_text(text.replace("TOKEN", str(folder / "token")))
    return file


def test_receivers_and_routes_come_from_the_file_and_no_secret_of_them_is_shown(
    tmp_path: Path,
) -> None:
    settings = load(written(tmp_path, RECEIVERS + ROUTES))
    pager, desk = settings.alerting.destinations()
    assert (pager.host, pager.sent_headers()["Authorization"], desk.name) == (
        "pager",
        "Bearer t0ken",
        "desk",
    )
    alert = Alert(
        Partition("metrics", 0),
        "eu/host-1",
        Severity.CRITICAL,
        Reason.FIRED,
        60.0,
        None,
        60.0,
        7.0,
        6.0,
    )
    routing = settings.alerting.routing()
    assert [
        (t.receiver, t.repeat_interval, t.wait, dict(t.group.labels))
        for t in routing.targets(alert)
    ] == [
        ("pager", 3600, 0, {"alertname": "StreamAnomaly", "stream": "eu/host-1"}),
        ("desk", 0, 30, {"cluster": "eu"}),
    ]
    shown = repr(settings) + str(dict(names_and_values(settings)))
    assert not any(secret in shown for secret in ("token-9", "t0ken", "sc0pe"))
    assert "name: pager" in shown


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            'receiver = "pager"',
            'receiver = "nobody"',
            r"routes\.0: no receiver is called nobody; there are: desk, pager",
        ),
        (
            '"eu|us"',
            '"(eu"',
            r"alerting\.routes\.0\.match_regex in .*s\.toml: cluster: '\(eu' is not a regular",
        ),
        (
            '"critical"',
            '"loud"',
            r"alerting\.routes\.0\.severity in .*s\.toml: 'loud' is not a severity",
        ),
        ('["cluster"]', '["rack"]', r"routes\.1: no alert has a label rack"),
        ("group_wait = 30", 'severity = "warning"', "the last one has conditions"),
        (
            "group_wait = 30",
            "group_weight = 30",
            r"no such setting: alerting\.routes\.1\.group_weight in .*s\.toml",
        ),
        ('name = "desk"', 'name = "pager"', "two receivers are called pager"),
        ('"(?P<cluster>[^/]+)/.*"', '"[^/]+/.*"', "no named group"),
        (
            'team = "core"}\nstream',
            'severity = "core"}\nstream',
            "'severity' cannot be a label",
        ),
        (
            "http://desk/",
            "desk/token-9",
            r"alerting\.receivers\.1\.url in .*s\.toml: it is not a http:// or https:// address",
        ),
        (
            'url = "http://desk/"',
            'url_file = "/no/such"',
            r"alerting\.receivers\.1 in .*s\.toml: url_file: /no/such can't be read",
        ),
        (
            'url = "http://desk/"',
            'url = "http://desk/"\nuser = "u"',
            r"alerting\.receivers\.1 in .*s\.toml: user and password are set together",
        ),
        ('receiver = "desk"', 'receiver = ""', "none leads to receiver desk"),
    ],
)
def test_a_fault_in_receivers_or_routes_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    assert old in RECEIVERS + ROUTES
    with pytest.raises(ConfigError, match=sentence) as caught:
        load(written(tmp_path, (RECEIVERS + ROUTES).replace(old, new)))
    assert "token-9" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Atlantis",
        "Europe",
        "../Berlin",
        "/etc/localtime",
        "zone.tab",
        "é",
        "CEST",
    ],
)
def test_what_is_no_time_zone_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("DETECTOR_MODEL__TIMEZONE", name)
    with pytest.raises(
        ConfigError,
        match=f"DETECTOR_MODEL__TIMEZONE: '{name}' is not a time zone: use a name such as Europe/Berlin",
    ):
        load()


ZONES = """
[model]
timezone = "Europe/Berlin"
[[model.timezones]]
streams = "^us-"
zone = "America/New_York"
"""


def test_zones_of_streams_come_from_the_file_and_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = dict(names_and_values(load(written(tmp_path, ZONES))))
    assert shown["DETECTOR_MODEL__TIMEZONE"] == "Europe/Berlin"
    assert (
        shown["DETECTOR_MODEL__TIMEZONES"] == "{streams: ^us-, zone: America/New_York}"
    )
    monkeypatch.setenv("DETECTOR_MODEL__TIMEZONE", "")
    assert (
        dict(names_and_values(load(written(tmp_path, ZONES))))[
            "DETECTOR_MODEL__TIMEZONE"
        ]
        == ""
    )


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            '"^us-"',
            '"us-("',
            r"model\.timezones\.0\.streams in .*s\.toml: 'us-\(' is not a regular expression .*: escape",
        ),
        (
            "America/New_York",
            "America/Gotham",
            r"model\.timezones\.0\.zone in .*s\.toml: 'America/Gotham' is not a time zone: use a name such as",
        ),
        (
            'zone = "America/New_York"',
            'zone = "UTC"\nzones = "x"',
            r"no such setting: model\.timezones\.0\.zones",
        ),
        (
            'zone = "America/New_York"',
            "",
            r"model\.timezones\.0\.zone in .*s\.toml: Field required",
        ),
    ],
)
def test_a_fault_in_zones_of_streams_is_named_with_its_place(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load(written(tmp_path, ZONES.replace(old, new)))


def test_a_bundle_of_a_zone_that_is_not_known_here_asks_for_the_setting(
    tmp_path: Path,
) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "bundle", timezone="Mars/Olympus"))
    with pytest.raises(
        ConfigError, match=r"'Mars/Olympus' is not a time zone.*DETECTOR_MODEL__TIMEZONE"
    ):
        ModelSettings().zones(bundle)
    assert ModelSettings(timezone="UTC").zones(bundle).only_utc


def test_a_fault_is_named_where_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(
        tmp_path,
        'shutdown_deadline = -1\n[model]\nmax_streams = 0\n[kafka]\nsecurity_protocol = "SASL_SSL"\n',
    )
    with pytest.raises(ConfigError) as caught:
        load(file)
    shutdown, streams, sasl = [
        f"{key} in {file}: "
        for key in ("shutdown_deadline", "model.max_streams", "kafka")
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
        f"kafka in {file} and the environment: security_protocol",
    )
    assert all(name in str(caught.value) for name in named)


def test_any_is_the_packages_own_bundle_as_unset_is_and_its_path_a_directory(
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


def test_a_secret_given_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("x")
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_SECRET", "y")
    monkeypatch.setenv(
        "DETECTOR_ALERTING__WEBHOOK_SECRET_FILE", str(tmp_path / "secret")
    )
    with pytest.raises(ConfigError, match="both set"):
        load()


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
        (ROUTES.replace("group_wait", "group_wate"), "group_wate", "group_wait"),
        (ROUTES.replace("continue", "continues"), "continues", "continue"),
    ],
)
def test_an_unknown_key_of_the_file_is_named_with_the_nearest(
    tmp_path: Path, text: str, key: str, nearest: str
) -> None:
    text = text if "routes" not in text else RECEIVERS + text
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert re.search(
        rf"no such setting: \S*{key} in \S+: did you mean {nearest}\?",
        str(caught.value),
    )


def test_a_table_of_secrets_comes_from_a_file_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "headers").write_text('{"X-Scope": "sc0pe"}')
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", "http://receiver/")
    variable = "DETECTOR_ALERTING__WEBHOOK_HEADERS_FILE"
    monkeypatch.setenv(variable, str(tmp_path / "headers"))
    settings = load()
    assert settings.alerting.webhook_headers["X-Scope"].get_secret_value() == "sc0pe"
    (tmp_path / "headers").write_text("X-Scope: sc0pe")
    with pytest.raises(
        ConfigError, match=rf"{variable}: .* \(it is not JSON\)"
    ) as caught:
        load()
    assert "sc0pe" not in str(caught.value)


def test_receivers_come_from_a_file_since_they_hold_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "receivers").write_text('[{"name": "pager", "url": "http://p/t0ken"}]')
    monkeypatch.setenv("DETECTOR_ALERTING__RECEIVERS_FILE", f"{tmp_path}/receivers")
    (receiver,) = load().alerting.destinations()
    assert (receiver.name, receiver.host) == ("pager", "p")
