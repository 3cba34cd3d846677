"""``reload``, ``shadow``, ``promote``, ``rollback``: commands to a running daemon.

They speak to its HTTP endpoints, at the address and with the token of the settings.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec
import urllib3

from detector.cli.options import config_option
from detector.errors import ConfigError
from detector.settings.load import Settings, load
from detector.web.control import Asked, Done, Refusal

_ANSWER_S: Final = 150.0  # seconds: a bundle is loaded, and the loop may be busy
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound
_OK: Final = 200

_Command = TypeVar("_Command", bound=Callable[..., Any])


def at_daemon(command: _Command) -> _Command:
    """The options that say which daemon."""
    url = click.option(
        "--url",
        metavar="URL",
        help="Where the daemon answers.  [default: DETECTOR_WEB__LISTEN]",
    )
    return url(config_option(command))


class DaemonClient:
    """Speaks to one daemon. ``url`` None: the one of the settings."""

    def __init__(self, url: str | None, config: Path | None) -> None:
        """Raises ConfigError."""
        settings = load(config)
        self._url = (url or _url(settings)).rstrip("/")
        self._token = settings.web.token

    def get(self, path: str) -> bytes:
        """What a path answers. Raises ConfigError."""
        return self._request("GET", path, b"", {})

    def post(self, path: str, asked: Asked) -> Done:
        """Have a command carried out. Raises ConfigError if nothing was changed."""
        if self._token is None:
            raise ConfigError(
                "DETECTOR_WEB__TOKEN is not set: give the daemon and this command the"
                " same token"
            )
        headers = {"Authorization": f"Bearer {self._token.get_secret_value()}"}
        body = msgspec.json.encode(asked)
        answer = self._request("POST", path, body, headers)
        return msgspec.json.decode(answer, type=Done)

    def _request(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> bytes:
        url = self._url + path
        with urllib3.PoolManager() as pool:
            try:
                answer = pool.request(
                    method,
                    url,
                    body=body,
                    headers=headers,
                    timeout=_ANSWER_S,
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                raise ConfigError(
                    f"no daemon answers at {self._url} ({type(error).__name__}): start"
                    " it, or name its address with --url"
                ) from None
        if answer.status != _OK:
            raise ConfigError(_why(answer.status, answer.data, url))
        return answer.data


def _url(settings: Settings) -> str:
    host, port = settings.web.address
    host = _EVERYWHERE.get(host, host)
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _why(status: int, body: bytes, url: str) -> str:
    try:
        return msgspec.json.decode(body, type=Refusal).error
    except msgspec.DecodeError:
        return f"{url} answers {status}: is it the address of a daemon?"


@click.command()
@at_daemon
def reload(url: str | None, config: Path | None) -> int:
    """Have the daemon read its settings and its bundle again, without a restart.

    It reads the file that it was started with. What is wrong leaves all as it was, and
    this command says what. SIGHUP does the same.

    \b
    Examples:
      streamwarden reload
      streamwarden reload --url http://detector-0:8080
    """
    return _run(url, config, "/api/v1/reload", Asked())


@click.command()
@click.argument("bundle", required=False, default="")
@click.option("--off", is_flag=True, help="End the shadow.")
@at_daemon
def shadow(bundle: str, off: bool, url: str | None, config: Path | None) -> int:
    """Let BUNDLE score beside the bundle in force; its alerts are only counted.

    BUNDLE is a directory on the daemon's machine, or `builtin`. It needs the same
    features. Scoring then costs about twice as much.

    \b
    Examples:
      streamwarden shadow /etc/streamwarden/newer
      streamwarden compare
      streamwarden shadow --off
    """
    if bool(bundle) == off:
        raise click.UsageError("name a BUNDLE, or end the shadow with --off")
    named = bundle
    if bundle and bundle != "builtin":
        named = str(Path(bundle).absolute())
    return _run(url, config, "/api/v1/shadow", Asked(bundle=named))


@click.command()
@click.option("--anyway", is_flag=True, help="Although it has not warmed up.")
@at_daemon
def promote(anyway: bool, url: str | None, config: Path | None) -> int:
    """Put the bundle in shadow in force. The one of before goes on in shadow.

    Afterwards set DETECTOR_MODEL__BUNDLE to it: a restart runs what the settings say.

    \b
    Examples:
      streamwarden promote
      streamwarden promote --anyway
    """
    return _run(url, config, "/api/v1/promote", Asked(anyway=anyway))


@click.command()
@at_daemon
def rollback(url: str | None, config: Path | None) -> int:
    """Go back to the bundle and the settings that were in force before.

    \b
    Examples:
      streamwarden rollback
      streamwarden rollback --url http://detector-0:8080
    """
    return _run(url, config, "/api/v1/rollback", Asked())


def _run(url: str | None, config: Path | None, path: str, asked: Asked) -> int:
    done = DaemonClient(url, config).post(path, asked)
    click.echo(done.message)
    if done.seconds:
        click.echo(f"No record was scored for {done.seconds:.2f} s.")
    return 0
