"""A run in one clone, the directory that it leaves, and another clone that publishes it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from github_rules import Pull
from github_server import TOKEN, GitHubServer
from project import Done, Project
from repositories import Clone

from containers.git.repository import Repository
from pipeline.store.store import Store

NAME = "octo/demo"
SCRIPTS = {
    "1.1": "echo one > one.txt; printf '\\0\\377' > bin; rm src/app.py",
    "1.2": "echo two > two.txt; ln -s one.txt 'a link'; chmod +x README.md",
    "1.3": "echo three > three.txt",
    "1.4": "echo half > half.txt; exit 7",
    "2.1": "cat one.txt two.txt three.txt > all.txt",
    "3.1": "cat all.txt > again.txt",
}
FIELDS = {
    "1.3": "**Dependencies:** Task 1.1\n\n**Commit:** Größe: add three",
    "1.2": "**Implementation:**\nTwo!\n",
}


@dataclass
class Elsewhere:
    """A project where a plan was run, the directory that it left, and a clone on another machine."""

    project: Project
    here: Project
    server: GitHubServer
    directory: Path
    run: str

    @property
    def access(self) -> dict[str, str]:
        """The variables that give access to the server."""
        return {"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": self.server.url}

    def publish(self, *arguments: str | Path, project: Project | None = None, code: int = 0) -> Done:
        """Run `patchyard publish --from` in the clone."""
        command = ("publish", "--from", self.directory, "--json", *arguments)
        return (project or self.here).call(*command, environ=self.access).expect(code)

    @property
    def pulls(self) -> dict[str, Pull]:
        """The pull requests by their heads."""
        return {pull.head: pull for pull in self.server.pull_requests(NAME)}

    @property
    def report(self) -> dict[str, Any]:
        """The report."""
        found: dict[str, Any] = json.loads((self.directory / "report.json").read_text())
        return found

    def change(self, **values: object) -> None:
        """Change the report."""
        (self.directory / "report.json").write_text(json.dumps({**self.report, **values}))


def run_elsewhere(github: GitHubServer, project: Project, directory: Path) -> Elsewhere:
    """Run a plan in a project, write its report to a directory, and clone the project's remote."""
    github.add_repository(NAME)
    clone, hub = project.clone, github.repository(NAME)
    clone.git("remote", "add", "origin", str(hub.path))
    clone.git("push", "-q", "origin", "main")
    clone.git("remote", "set-url", "origin", github.clone_url(NAME))
    other = directory / "machine" / "demo"
    other.parent.mkdir()
    clone.user.git("clone", "-q", hub.path, other, cwd=directory)
    here = Project(Clone(clone.user, other))
    here.clone.git("remote", "set-url", "origin", github.clone_url(NAME))
    plan = project.tasks(SCRIPTS, fields=FIELDS, title="Some Plan")
    run = project.run(plan, "--keep-going", "--label", "bot").expect(1).run
    project.call("patches", run, "--output", directory / "out").expect(0)
    return Elsewhere(project, here, github, directory / "out", run)


@contextmanager
def opened(project: Project) -> Iterator[tuple[Repository, Store]]:
    """Open a project's repository and its store."""
    repository = Repository.open(project.root, project.environ)
    with Store.beside(repository.common) as store:
        yield repository, store
