"""A file of settings with receivers and routes, which several tests change."""

from __future__ import annotations

from pathlib import Path

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
