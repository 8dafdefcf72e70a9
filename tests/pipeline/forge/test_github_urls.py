"""Where a remote's URL leads, and which token goes there."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.forge.github_urls import (
    RemoteRepository,
    api_url,
    find_token,
    is_secure_for,
    parse_name,
    parse_remote,
    web_host,
)

DEMO = RemoteRepository("github.com", "octo", "demo")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/octo/demo.git",
        "https://github.com/octo/demo",
        "https://github.com/octo/demo/",
        "https://github.com/octo/demo.git/",
        "https://GitHub.com/octo/demo.git",
        "https://github.com:443/octo/demo.git",
        "https://somebody@github.com/octo/demo.git",
        "https://x-access-token:ghp_secret@github.com/octo/demo.git",
        "https://www.github.com/octo/demo",
        "http://github.com/octo/demo.git",
        "git://github.com/octo/demo.git",
        "git@github.com:octo/demo.git",
        "git@github.com:octo/demo",
        "git@github.com:/octo/demo.git",
        "git@github.com:octo/demo.git/",
        "github.com:octo/demo.git",
        "git@github.com-work:octo/demo.git",
        "ssh://git@github.com/octo/demo.git",
        "ssh://github.com/octo/demo",
        "ssh://git@ssh.github.com:443/octo/demo.git",
        "git+ssh://git@github.com/octo/demo.git",
        "  https://github.com/octo/demo.git\n",
    ],
)
def test_all_url_forms_are_parsed(url: str) -> None:
    assert parse_remote(url) == DEMO


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://ghe.example.com/octo/demo.git", RemoteRepository("ghe.example.com", "octo", "demo")),
        ("https://ghe.example.com:8443/octo/demo", RemoteRepository("ghe.example.com", "octo", "demo", 8443)),
        (
            "ssh://git@ghe.example.com:2222/octo/demo.git",
            RemoteRepository("ghe.example.com", "octo", "demo"),
        ),
        ("git@ghe.example.com:octo/demo.git", RemoteRepository("ghe.example.com", "octo", "demo")),
        ("http://127.0.0.1:8080/octo/demo.git", RemoteRepository("127.0.0.1", "octo", "demo", 8080)),
        ("git@[::1]:octo/demo.git", RemoteRepository("::1", "octo", "demo")),
        ("https://github.com/octo.cat/demo.git.git", RemoteRepository("github.com", "octo.cat", "demo.git")),
    ],
)
def test_other_hosts(url: str, found: RemoteRepository) -> None:
    assert parse_remote(url) == found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/git/demo.git",
        "../demo.git",
        "./octo/demo",
        "octo/demo",
        "file:///srv/octo/demo.git",
        "C:/octo/demo",
        "C:\\octo\\demo",
        "https://github.com/octo",
        "https://github.com/octo/demo/tree/main",
        "https://gitlab.com/group/sub/demo.git",
        "https:///octo/demo",
        "https://github.com:port/octo/demo",
        "https://[github.com/octo/demo",
        "https://github.com/octo/..",
        "git@github.com:",
        "ext::sh -c true",
        "ftp://github.com/octo/demo",
    ],
)
def test_other_urls_are_not_parsed(url: str) -> None:
    assert parse_remote(url) is None


@given(st.text())
def test_arbitrary_text_raises_no_error(text: str) -> None:
    found = parse_remote(text)
    assert found is None or (found.host and found.owner and found.name)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("octo/demo", DEMO),
        ("ghe.example.com/octo/demo", RemoteRepository("ghe.example.com", "octo", "demo")),
        ("demo", None),
        ("octo/", None),
        ("/octo/demo", None),
        ("https://github.com/octo/demo", None),
        ("octo/de mo", None),
    ],
)
def test_a_repository_by_name(name: str, found: RemoteRepository | None) -> None:
    assert parse_name(name) == found


@pytest.mark.parametrize(
    ("environ", "repository", "url"),
    [
        ({}, None, "https://api.github.com"),
        ({}, DEMO, "https://api.github.com"),
        ({}, RemoteRepository("ghe.example.com", "o", "d"), "https://ghe.example.com/api/v3"),
        ({}, RemoteRepository("octo.ghe.com", "o", "d"), "https://api.octo.ghe.com"),
        ({"GITHUB_API_URL": "http://127.0.0.1:8080/api/v3/"}, DEMO, "http://127.0.0.1:8080/api/v3"),
        ({"GITHUB_API_URL": ""}, DEMO, "https://api.github.com"),
    ],
)
def test_api_url(environ: Mapping[str, str], repository: RemoteRepository | None, url: str) -> None:
    assert api_url(environ, repository) == url


@pytest.mark.parametrize(
    ("api", "host"),
    [
        ("https://api.github.com", "github.com"),
        ("https://api.octo.ghe.com", "octo.ghe.com"),
        ("https://ghe.example.com/api/v3", "ghe.example.com"),
        ("https://api.example.com/api/v3", "api.example.com"),
    ],
)
def test_web_host(api: str, host: str) -> None:
    assert web_host(api) == host


BOTH = {"GITHUB_TOKEN": "one", "GH_TOKEN": "two"}


@pytest.mark.parametrize(
    ("environ", "host", "token"),
    [
        (BOTH, "github.com", "one"),
        ({**BOTH, "GITHUB_TOKEN": " "}, "github.com", "two"),
        ({"GITHUB_TOKEN": " one\n"}, "github.com", "one"),
        (BOTH, "octo.ghe.com", "one"),
        ({"GH_ENTERPRISE_TOKEN": "three"}, "github.com", None),
        ({}, "github.com", None),
        ({**BOTH, "GH_ENTERPRISE_TOKEN": "three"}, "ghe.example.com", "three"),
        ({"GITHUB_ENTERPRISE_TOKEN": "four"}, "ghe.example.com", "four"),
        ({**BOTH, "GITHUB_API_URL": "https://ghe.example.com/api/v3"}, "ghe.example.com", "one"),
        ({**BOTH, "GITHUB_SERVER_URL": "https://ghe.example.com"}, "ghe.example.com", "one"),
        ({**BOTH, "GH_HOST": "ghe.example.com"}, "ghe.example.com", "one"),
    ],
)
def test_find_token_for_a_host(environ: Mapping[str, str], host: str, token: str | None) -> None:
    assert find_token({"PATH": "", **environ}, host) == token


def test_github_token_is_not_sent_to_the_host_of_a_remote() -> None:
    assert find_token({"PATH": "", **BOTH, "GITHUB_API_URL": "https://api.github.com"}, "gitlab.com") is None


@pytest.mark.parametrize(
    ("script", "token"),
    [
        ('test "$*" = "auth token --hostname github.com" && echo ghp_own', "ghp_own"),
        ("echo not signed in >&2; exit 1", None),
        ("echo", None),
        ('test -z "$PATCHYARD_DATABASE" && echo ghp_own', "ghp_own"),
    ],
)
def test_token_from_gh(tmp_path: Path, script: str, token: str | None) -> None:
    program = tmp_path / "gh"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PATCHYARD_DATABASE": "postgresql://u:p@h/d"}
    assert find_token(environ, "github.com") == token


@pytest.mark.parametrize(
    ("remote", "api", "secure"),
    [
        ("https://github.com/octo/demo.git", "https://api.github.com", True),
        ("https://me@github.com/octo/demo.git", "https://api.github.com", True),
        ("https://ghe.example.com:8443/octo/demo", "https://ghe.example.com/api/v3", True),
        ("http://127.0.0.1:8080/octo/demo.git", "http://127.0.0.1:8080", True),
        ("http://127.0.0.1:8081/octo/demo.git", "http://127.0.0.1:8080", False),
        ("http://github.com/octo/demo.git", "https://api.github.com", False),
        ("https://gitlab.com/octo/demo.git", "https://api.github.com", False),
        ("https://me:own@github.com/octo/demo.git", "https://api.github.com", False),
        ("git@github.com:octo/demo.git", "https://api.github.com", False),
        ("ssh://git@github.com/octo/demo.git", "https://api.github.com", False),
        ("/srv/git/demo.git", "https://api.github.com", False),
    ],
)
def test_is_secure_for(remote: str, api: str, secure: bool) -> None:  # noqa: FBT001 - a parameter
    assert is_secure_for(remote, api) is secure
