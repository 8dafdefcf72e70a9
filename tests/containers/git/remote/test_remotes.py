"""What git does over the network: real pushes to real repositories, by path and over HTTP."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import TOKEN, Fault, GitHubServer
from repositories import Clone, CountedGit, User

from containers.git.remote.remotes import Credential, Push, PushResult, RemoteError
from containers.git.repository import Repository

GOOD = Credential("x-access-token", TOKEN)
BAD = Credential("x-access-token", "not-the-token-4711")


class Remote:
    """A clone with a remote `origin`, and somebody else's clone of the same."""

    def __init__(self, clone: Clone, bare: Path) -> None:
        self.clone = clone
        self.bare = Clone(clone.user, bare)
        self.repository = Repository.open(clone.path, clone.user.environ)
        self.start = clone.head

    def commit(self, content: str) -> str:
        """Make a commit on top of the start that no branch has."""
        self.clone.git("checkout", "-q", "--detach", self.start)
        commit = self.clone.commit({"work": content})
        self.clone.git("checkout", "-q", "main")
        return commit

    def push(self, *pushes: Push, credential: Credential | None = None) -> tuple[PushResult, ...]:
        return self.repository.remote("origin").push(pushes, credential)

    def tip(self, branch: str) -> str:
        return self.bare.git("rev-parse", f"refs/heads/{branch}")


@pytest.fixture
def remote(clone: Clone, tmp_path: Path) -> Remote:
    clone.git("clone", "-q", "--bare", ".", tmp_path / "origin.git")
    clone.git("remote", "add", "origin", "../origin.git")
    clone.git("fetch", "-q", "origin")
    return Remote(clone, tmp_path / "origin.git")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHubServer]:
    with GitHubServer(tmp_path / "github") as server:
        yield server


@pytest.fixture
def hosted(clone: Clone, server: GitHubServer) -> Remote:
    """The remote is behind HTTP, and wants a token."""
    bare = server.add_repository("uma/sample")
    clone.git("push", "-q", bare, "main")
    clone.git("remote", "add", "origin", server.clone_url("uma/sample"))
    return Remote(clone, bare)


def hook(remote: Remote, name: str, script: str) -> None:
    """Let the remote run something."""
    path = remote.bare.path / "hooks" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def everything(clone: Clone) -> str:
    """Configuration and refs of the user's, except what follows a remote."""
    refs = clone.git("for-each-ref", "refs/heads", "refs/tags", "refs/stash")
    return (clone.path / ".git/config").read_text() + refs + clone.git("status", "--porcelain", "--ignored")


class TestPush:
    def test_new_and_known_branches_at_once(self, remote: Remote) -> None:
        before = everything(remote.clone)
        one, two = remote.commit("1"), remote.commit("2")
        assert remote.push(Push("p/1", one, None), Push("p/2", one, None)) == (
            PushResult("p/1"),
            PushResult("p/2"),
        )
        assert remote.push(Push("p/1", two, one), Push("p/3", two, None)) == (
            PushResult("p/1"),
            PushResult("p/3"),
        )
        assert (remote.tip("p/1"), remote.tip("p/2"), remote.tip("p/3")) == (two, one, two)
        assert everything(remote.clone) == before
        assert (
            not (remote.clone.path / ".git/FETCH_HEAD").exists()
            or "p/" not in (remote.clone.path / ".git/FETCH_HEAD").read_text()
        )

    def test_repeated_push_succeeds(self, remote: Remote) -> None:
        one = remote.commit("1")
        for lease in (None, one, remote.start):
            assert remote.push(Push("p/1", one, lease)) == (PushResult("p/1"),)

    def test_concurrently_updated_branch_is_not_overwritten_and_others_are_pushed(self, remote: Remote) -> None:
        one, theirs, two = remote.commit("1"), remote.commit("theirs"), remote.commit("2")
        remote.push(Push("p/1", one, None), Push("p/2", one, None))
        remote.bare.git("fetch", "-q", remote.clone.path, f"{theirs}:refs/heads/p/1", "--force")
        moved = "somebody else pushed to p/1; it was not changed; look at their commits first"
        for lease in (one, None):
            results = remote.push(Push("p/1", two, lease), Push("p/2", two, one), Push("p/4", two, one))
            assert results[0] == PushResult("p/1", moved)
            assert results[1] == PushResult("p/2")
            assert results[2] == PushResult("p/4", moved.replace("p/1", "p/4"))
        assert remote.tip("p/1") == theirs

    def test_message_of_a_declining_hook_is_quoted(self, remote: Remote) -> None:
        one = remote.commit("1")
        hook(remote, "update", "case $1 in *no*) echo 'Not on a Friday.' >&2; exit 1;; esac")
        declined, taken = remote.push(Push("no", one, None), Push("yes", one, None))
        assert declined.error == (
            "the remote declined the push to no (hook declined): "
            "Not on a Friday. error: hook declined to update refs/heads/no"
        )
        assert taken == PushResult("yes")
        hook(remote, "pre-receive", "echo 'Protected: ask Uma.' >&2; exit 1")
        assert remote.push(Push("later", one, None)) == (
            PushResult(
                "later",
                "the remote declined the push to later (pre-receive hook declined): Protected: ask Uma.",
            ),
        )
        assert remote.bare.git("for-each-ref", "--format=%(refname:short)", "refs/heads") == "main\nyes"

    def test_conflicting_branch_name_is_declined(self, remote: Remote) -> None:
        one = remote.commit("1")
        remote.push(Push("p", one, None))
        (result,) = remote.push(Push("p/1", one, None))
        assert result.error
        assert result.error.startswith("the remote declined the push to p/1 (")

    def test_user_settings_and_hooks_do_not_apply(self, remote: Remote, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        pre_push = remote.clone.path / ".git/hooks/pre-push"
        pre_push.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
        pre_push.chmod(0o755)
        remote.clone.git("tag", "-m", "t", "t")
        remote.clone.git("config", "remote.origin.mirror", "true")
        remote.clone.user.configure(
            push_gpgSign="true", push_followTags="true", push_default="nothing", push_pushOption="ci.skip",
            push_useForceIfIncludes="true", push_recurseSubmodules="check", push_autoSetupRemote="true",
        )  # fmt: skip
        before = everything(remote.clone)
        one = remote.commit("1")
        assert remote.push(Push("p/1", one, None)) == (PushResult("p/1"),)
        assert everything(remote.clone) == before
        assert remote.bare.git("for-each-ref", "--format=%(refname)") == "refs/heads/main\nrefs/heads/p/1"
        assert not ran.exists()

    def test_missing_remote(self, remote: Remote) -> None:
        shutil.rmtree(remote.bare.path)
        results = remote.push(Push("a", remote.start, None), Push("b", remote.start, None))
        assert [result.branch for result in results] == ["a", "b"]
        for result in results:
            assert result.error
            assert result.error.startswith(
                "cannot use the remote origin: there is no git repository; check the remote's URL with `git"
            )

    def test_nothing_to_push(self, remote: Remote) -> None:
        assert remote.push() == ()

    def test_unresponsive_remote_times_out(self, remote: Remote) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            remote.clone.git("remote", "set-url", "origin", f"http://127.0.0.1:{silent.getsockname()[1]}/x.git")
            pushes = [Push("a", remote.start, None)]
            (result,) = remote.repository.remote("origin").push(pushes, None, timeout=0.5)
            assert result == PushResult("a", "origin did not answer within 0.5 s; try again later")
            with pytest.raises(RemoteError, match=r"origin did not answer within 0\.5 s"):
                remote.repository.remote("origin").branches(["*"], None, timeout=0.5)


class TestLook:
    def test_branches(self, remote: Remote) -> None:
        one = remote.commit("1")
        remote.push(Push("p/1", one, None), Push("p/2", one, None), Push("x/p/1", one, None))
        origin = remote.repository.remote("origin")
        assert origin.branches(["p/1", "p/9"], None) == {"p/1": one}
        assert origin.branches(["p/*"], None) == {"p/1": one, "p/2": one}
        assert origin.branches(["nothing"], None) == {}
        by_path = remote.repository.remote(str(remote.bare.path))
        assert by_path.branches(["main"], None) == {"main": remote.start}

    def test_the_default_branch(self, remote: Remote) -> None:
        assert remote.repository.remote("origin").default_branch(None) == "main"
        remote.bare.git("symbolic-ref", "HEAD", "refs/heads/nothing")
        assert remote.repository.remote("origin").default_branch(None) is None

    def test_the_url(self, remote: Remote, user: User) -> None:
        origin = remote.repository.remote("origin")
        assert origin.url() == "../origin.git"
        assert remote.repository.remote("nowhere").url() is None
        remote.clone.git("config", "remote.origin.url", "gh:uma/sample.git")
        remote.clone.git("config", "remote.origin.pushUrl", "gh:fork/sample.git")
        user.git("config", "--global", "url.https://github.com/.insteadOf", "gh:", cwd=user.home)
        assert origin.url() == "https://github.com/uma/sample.git"
        assert origin.url(push=True) == "https://github.com/fork/sample.git"
        assert remote.repository.remote("gh:other/one").url() == "https://github.com/other/one"

    def test_relative_url_works_from_a_linked_worktree(self, remote: Remote, tmp_path: Path) -> None:
        remote.clone.git("worktree", "add", "-q", "--detach", tmp_path / "linked")
        linked = Repository.open(tmp_path / "linked" / "src", remote.clone.user.environ)
        assert linked.remote("origin").branches(["main"], None) == {"main": remote.start}


class TestFetch:
    def test_fetch_changes_no_ref(self, remote: Remote, tmp_path: Path) -> None:
        theirs = Clone(remote.clone.user, tmp_path / "theirs")
        remote.bare.git("clone", "-q", ".", theirs.path)
        commit = theirs.commit({"new": "new"})
        theirs.git("tag", "-m", "t", "tagged")
        theirs.git("push", "-q", "origin", "HEAD:topic", "tagged")
        remote.clone.user.configure(fetch_prune="true", remote_origin_tagOpt="--tags", fetch_pruneTags="true")
        remote.clone.git("update-ref", "refs/remotes/origin/gone", remote.start)
        git = remote.clone.path / ".git"
        (git / "FETCH_HEAD").unlink(missing_ok=True)
        before = everything(remote.clone) + remote.clone.git("for-each-ref")
        remote.repository.remote("origin").fetch(commit, None)
        assert remote.clone.git("cat-file", "-t", commit) == "commit"
        assert everything(remote.clone) + remote.clone.git("for-each-ref") == before
        assert not (git / "FETCH_HEAD").exists()
        shutil.rmtree(remote.bare.path)
        remote.repository.remote("origin").fetch(commit, None)  # it is here, so nobody is asked

    def test_a_shallow_clone_stays_shallow(self, remote: Remote, tmp_path: Path) -> None:
        remote.clone.commit({"b": "b"})
        remote.clone.git("push", "-q", "origin", "main")
        shallow = Clone(remote.clone.user, tmp_path / "shallow")
        remote.clone.git("clone", "-q", "--depth=1", f"file://{remote.bare.path}", shallow.path)
        before = (shallow.path / ".git/shallow").read_text()
        commit = remote.commit("topic")
        remote.push(Push("topic", commit, None))
        Repository.open(shallow.path, shallow.user.environ).remote("origin").fetch(commit, None)
        assert (shallow.path / ".git/shallow").read_text().split()[: len(before.split())] == before.split()
        assert shallow.git("rev-list", "--count", "HEAD") == "1"

    def test_no_such_commit(self, remote: Remote) -> None:
        with pytest.raises(RemoteError, match="cannot use the remote origin: .*" + "1" * 40):
            remote.repository.remote("origin").fetch("1" * 40, None)


class TestCredentials:
    def test_token_gives_access_and_is_not_visible(self, hosted: Remote, tmp_path: Path) -> None:
        one = hosted.commit("1")
        before = everything(hosted.clone)
        git = CountedGit.at(tmp_path / "bin", hosted.clone.user)
        repository = Repository.open(hosted.clone.path, git.environ)
        assert repository.remote("origin").push([Push("p/1", one, None)], GOOD) == (PushResult("p/1"),)
        assert repository.remote("origin").branches(["p/*"], GOOD) == {"p/1": one}
        assert repository.remote("origin").default_branch(GOOD) == "main"
        assert hosted.tip("p/1") == one
        calls = "\n".join(git.calls())
        assert TOKEN not in calls
        assert "push --porcelain" in calls
        assert everything(hosted.clone) == before
        assert TOKEN not in repr(GOOD)

    def test_wrong_token_is_explained_and_not_shown(self, hosted: Remote) -> None:
        (result,) = hosted.push(Push("p/1", hosted.start, None), credential=BAD)
        assert result.error
        assert "it rejects the token or password" in result.error
        assert BAD.password not in result.error
        with pytest.raises(RemoteError, match="it rejects the token or password") as error:
            hosted.repository.remote("origin").branches(["*"], BAD)
        assert BAD.password not in str(error.value) + error.value.stderr

    def test_missing_token_is_explained(self, hosted: Remote) -> None:
        (result,) = hosted.push(Push("p/1", hosted.start, None))
        assert result.error
        assert "it requires a user name and a password; give a token" in result.error

    def test_token_without_write_access(self, hosted: Remote, server: GitHubServer) -> None:
        server.repository("uma/sample").writers.clear()
        (result,) = hosted.push(Push("p/1", hosted.start, None), credential=GOOD)
        assert result.error
        assert "the token or account may not write there" in result.error

    def test_user_credential_helpers_are_not_used(self, hosted: Remote, tmp_path: Path) -> None:
        helper = tmp_path / "helper"
        helper.write_text(
            f"#!/bin/sh\n{{ echo $*; cat; }} >> {tmp_path}/asked\necho username=u\necho password=p\n"
        )
        helper.chmod(0o755)
        url = hosted.repository.remote("origin").url()
        for key in ("credential.helper", f"credential.{url}.helper"):
            hosted.clone.git("config", "--global", key, str(helper))
            hosted.clone.git("config", key, str(helper))
        assert hosted.push(Push("p/1", hosted.start, None), credential=GOOD) == (PushResult("p/1"),)
        assert not (tmp_path / "asked").exists()
        hosted.push(Push("p/1", hosted.start, None))
        assert (tmp_path / "asked").exists()

    def test_token_is_used_for_http_only(self, hosted: Remote, tmp_path: Path) -> None:
        hosted.clone.git("remote", "add", "files", f"file://{hosted.bare.path}")
        hook(hosted, "pre-receive", f"env > {tmp_path}/seen")
        pushes = [Push("p/1", hosted.start, None)]
        assert hosted.repository.remote("files").push(pushes, GOOD) == (PushResult("p/1"),)
        assert "GIT_" in (tmp_path / "seen").read_text()
        assert TOKEN not in (tmp_path / "seen").read_text()

    def test_token_is_used_for_the_push_host_only(self, hosted: Remote, server: GitHubServer) -> None:
        elsewhere = server.clone_url("uma/sample").replace("127.0.0.1", "localhost")
        hosted.clone.git("config", "http.followRedirects", "true")
        moved = Fault(
            302, path="/info/refs", headers={"Location": f"{elsewhere}/info/refs?service=git-receive-pack"}
        )
        server.inject(moved)
        (result,) = hosted.push(Push("p/1", hosted.start, None), credential=GOOD)
        assert result.error
        assert "it requires a user name and a password" in result.error

    def test_token_with_a_line_break_is_rejected(self, hosted: Remote) -> None:
        with pytest.raises(RemoteError, match="the token for origin has a line break in it; set it again"):
            hosted.repository.remote("origin").fetch("1" * 40, Credential("x", "a\nhost=evil"))

    def test_a_password_in_the_url_is_not_shown(self, hosted: Remote) -> None:
        url = hosted.clone.git("remote", "get-url", "origin").replace("//", "//uma:hunter22@")
        hosted.clone.git("remote", "set-url", "origin", url)
        (result,) = hosted.push(Push("p/1", hosted.start, None))
        assert result.error
        assert "hunter22" not in result.error


def test_unknown_host(clone: Clone) -> None:
    clone.git("remote", "add", "origin", "https://nowhere.invalid/x.git")
    with pytest.raises(RemoteError, match="its name cannot be resolved"):
        Repository.open(clone.path, clone.user.environ).remote("origin").branches(["*"], None)


def test_closed_port(clone: Clone) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    clone.git("remote", "add", "origin", f"http://127.0.0.1:{port}/x.git")
    with pytest.raises(RemoteError, match="it cannot be reached; check the network"):
        Repository.open(clone.path, clone.user.environ).remote("origin").branches(["*"], None)
