"""The store of a repository's runs. Blocking."""

from collections.abc import Mapping

from containers.git.repository import Repository
from pipeline.run.control import host_name
from pipeline.run.paths import runs_directory
from pipeline.run.stored.recovery import add_missing_runs, release_commits
from pipeline.store.database_url import VARIABLE
from pipeline.store.store import Store
from tasks.text import without_credentials


def open_store(repository: Repository, environ: Mapping[str, str], database: str | None = None) -> Store:
    """Open the store of a repository's runs: a database that others share, or the one in its git directory.

    Args:
        repository: The repository of the runs.
        environ: `PATCHYARD_DATABASE` has the URL if `database` is `None`.
        database: Its URL.

    Raises:
        StoreError: It cannot be opened.
    """
    url = database or environ.get(VARIABLE)
    shared = repository_id(repository, environ) if url else ""
    store = Store(url, repository=shared) if url else Store.beside(repository.common)
    add_missing_runs(store, runs_directory(repository.common))
    if (repository.common / "refs" / "patchyard").is_dir():
        release_commits(repository)
    return store


def repository_id(repository: Repository, environ: Mapping[str, str]) -> str:
    """Return the id of a repository, the same in all clones: the URL of `origin`, else the host and path."""
    url = repository.remote("origin").url()
    if url is None:
        return f"{host_name(environ)}:{repository.common}"
    return without_credentials(url).removesuffix("/").removesuffix(".git")
