"""The address of a remote is read once: later calls go there, or fail."""

from pathlib import Path

import pytest
from repositories import Clone

from containers.git.command import Git
from containers.git.remote.remote_address import Address, read_address
from containers.git.remote.remotes import Push, PushResult, RemoteError
from containers.git.repository import GitError, Repository

HOST = "https://git.example.com/"
URL = f"{HOST}octo/demo.git"


def git_of(clone: Clone) -> Git:
    return Git.find(clone.user.environ, clone.path)


def address_of(clone: Clone) -> Address:
    return read_address(git_of(clone), "origin", URL)


def effective(clone: Clone, address: Address, key: str, *, authenticated: bool = True) -> str:
    """Return the value of an `http` setting that git uses for the URL."""
    _, settings = address.alias(authenticated=authenticated)
    query = ("config", "--get-urlmatch", f"http.{key}", URL)
    return git_of(clone).configured(settings).run(*query, ok=(0, 1)).text


@pytest.fixture
def bare(clone: Clone, tmp_path: Path) -> Clone:
    clone.git("clone", "-q", "--bare", ".", tmp_path / "origin.git")
    clone.git("remote", "add", "origin", "../origin.git")
    clone.git("fetch", "-q", "origin")
    return Clone(clone.user, tmp_path / "origin.git")


def test_push_and_reads_use_the_fixed_url(clone: Clone, bare: Clone) -> None:
    fixed = Repository.open(clone.path, clone.user.environ).remote("origin").fixed()
    before = (clone.path / ".git/config").read_text()

    assert fixed.branches(["main"], None) == {"main": clone.head}
    assert fixed.default_branch(None) == "main"
    assert fixed.push([Push("p/1", clone.head, None)], None) == (PushResult("p/1"),)

    assert bare.git("rev-parse", "p/1") == clone.head
    assert clone.git("rev-parse", "refs/remotes/origin/p/1") == clone.head  # as after a push by the user
    assert (clone.path / ".git/config").read_text() == before
    assert "patchyard-" not in clone.git("for-each-ref")


def test_changed_setting_is_named_and_its_value_is_not(clone: Clone, bare: Clone) -> None:
    fixed = Repository.open(clone.path, clone.user.environ).remote("origin").fixed()
    clone.git("config", "remote.origin.pushurl", "https://x:hunter22@example.com/a/b")

    with pytest.raises(
        RemoteError, match=r"was changed after it was checked \(remote.origin.pushurl\)"
    ) as error:
        fixed.branches(["main"], None)

    assert "hunter22" not in str(error.value)
    assert bare.git("for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_rewriting_rule_cannot_catch_the_alias(clone: Clone, bare: Clone) -> None:
    """A rule may be written after the check and before git reads it."""
    address = read_address(git_of(clone), "origin", str(bare.path))
    for rule in ("insteadOf", "pushInsteadOf"):
        for prefix in ("", "p", "patchyard-", str(bare.path)):
            clone.git("config", "--add", f"url.{bare.path.parent}/nowhere/.{rule}", prefix)
    alias, settings = address.alias(authenticated=True)
    git = git_of(clone).configured(settings)

    assert git.run("ls-remote", "--get-url", alias).text == str(bare.path)
    git.run("push", "--quiet", alias, "HEAD:refs/heads/p/1")

    assert bare.git("rev-parse", "p/1") == clone.head


def test_settings_are_those_of_the_time_of_reading(clone: Clone) -> None:
    clone.git("config", f"http.{HOST}.proxy", "http://ours:1")
    address = address_of(clone)
    clone.git("config", f"http.{URL}.proxy", "http://theirs:1")
    clone.git("config", f"http.{URL}.sslVerify", "false")

    assert effective(clone, address, "proxy") == "http://ours:1"
    assert effective(clone, address, "sslVerify") == "true"
    with pytest.raises(GitError, match="was changed"):
        address.check(git_of(clone))


def test_proxy_of_the_environment_is_kept(clone: Clone) -> None:
    without, proxied = git_of(clone), Git.find({**clone.user.environ, "https_proxy": "http://p:1"}, clone.path)

    assert ("proxy", "") in read_address(without, "origin", URL).http
    assert not any(key == "proxy" for key, _ in read_address(proxied, "origin", URL).http)


@pytest.mark.parametrize(("scope", "verifies"), [("--local", "true"), ("--global", "false")])
def test_repository_cannot_switch_off_the_verification_of_certificates(
    clone: Clone, scope: str, verifies: str
) -> None:
    clone.git("config", scope, "http.sslVerify", "false")

    assert effective(clone, address_of(clone), "sslVerify") == verifies
    assert effective(clone, address_of(clone), "sslVerify", authenticated=False) == "false"


def test_missing_remote(clone: Clone) -> None:
    with pytest.raises(GitError, match="there is no remote origin; add it with `git remote add origin URL`"):
        Repository.open(clone.path, clone.user.environ).remote("origin").fixed()
