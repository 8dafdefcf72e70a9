"""The texts of patches in the database: rows of at most a megabyte, written and read one at a time."""

import hashlib
from collections.abc import Iterator

from pipeline.store.connection import Connection
from pipeline.store.damage import DamagedRowError
from pipeline.store.database import Database
from pipeline.store.errors import StoreError
from pipeline.store.row_reads import read_row
from pipeline.store.row_writes import insert_missing_row
from pipeline.store.tables import PATCH_CHUNKS
from tasks.outcome import Patch
from tasks.patch_data import PatchData

CHUNK = 1 << 20
"""Bytes of a row."""


class StoredData(PatchData):
    """The text of a patch of a run in the database; it is read when it is needed."""

    def __init__(self, patches: "StoredPatches", run: str, size: int, sha256: str) -> None:
        super().__init__(size, sha256)
        self.run = run
        self._patches = patches

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces. Blocking.

        Raises:
            StoreError: The database cannot be read, or it does not have the patch as it was stored.
        """
        digest, size = hashlib.sha256(), 0
        for number in range(-(-self.size // CHUNK)):
            block = self._patches.read_chunk(self.run, self.sha256, number)
            digest.update(block)
            size += len(block)
            yield block
        if (size, digest.hexdigest()) != (self.size, self.sha256):
            raise StoreError(
                f"the database does not have a patch of run {self.run} as it was stored; "
                f"run its task again with `patchyard retry {self.run} TASK`"
            )


class StoredPatches(Database):
    """The methods of a store for the texts of patches. Blocking."""

    def patch_data(self, run: str, size: int, sha256: str) -> PatchData:
        """Return the text of a patch, which is read from the database when it is needed."""
        return StoredData(self, run, size, sha256)

    def read_chunk(self, run: str, sha256: str, number: int) -> bytes:
        """Return a part of a patch, counted from 0; nothing if it is missing or damaged."""
        key = {"run": run, "sha256": sha256, "number": number}
        with self._read() as connection:
            try:
                row = read_row(connection, PATCH_CHUNKS, key, columns=("data",))
            except DamagedRowError:
                return b""
        return row["data"] if row else b""

    def _keep_large(self, run: str, patch: Patch | None) -> None:
        """Store the text of a patch that is several rows, before the row that names it. Idempotent.

        Each part is a transaction of its own, so that others can write in between; the transaction that names
        the patch makes them durable. What no row names after a kill is removed with its run.
        """
        if patch is None or patch.diff.size <= CHUNK:
            return
        data = patch.diff
        if self.read_chunk(run, data.sha256, (data.size - 1) // CHUNK):
            return
        for number, block in enumerate(_pieces(data)):
            with self._write(run=run, durable=False) as connection:
                self._insert_chunk(connection, run, data, number, block)

    def _keep_small(self, connection: Connection, run: str, patch: Patch | None, block: bytes) -> None:
        """Store the text of a patch that is a single row, with the row that names it."""
        if patch and block:
            self._insert_chunk(connection, run, patch.diff, 0, block)

    def _insert_chunk(
        self, connection: Connection, run: str, data: PatchData, number: int, block: bytes
    ) -> None:
        row = {"run": run, "sha256": data.sha256, "number": number, "data": block}
        insert_missing_row(connection, PATCH_CHUNKS, row)


def small_text(patch: Patch | None) -> bytes:
    """Return the text of a patch that is a single row, else nothing.

    It is read before the transaction that stores it: a text may be in the database itself.
    """
    return patch.diff.read() if patch and patch.diff.size <= CHUNK else b""


def _pieces(data: PatchData) -> Iterator[bytes]:
    """Yield the bytes of a patch in pieces of `CHUNK`."""
    held = b""
    for block in data.blocks():
        held += block
        while len(held) >= CHUNK:
            yield held[:CHUNK]
            held = held[CHUNK:]
    if held:
        yield held
