"""Read and write `patchyard.lock`: digests of images by name, committed beside `patchyard.toml`."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import ClassVar

from containers.dagger_engine.digests import DIGEST, digest_of
from containers.filesystem import read_small
from containers.temporary import write_atomically
from tasks.errors import PatchyardError
from tasks.lazy.dataclasses import dataclass

FILE = "patchyard.lock"
VERSION = 1
MAX_FILE = 1 << 20
"""A larger file, in bytes, is not read."""
HEAD = f"""\
# The digest of each image by name, written by `patchyard lock`; `patchyard lock --update` renews them.
version = {VERSION}

[images]
"""


class LockError(PatchyardError):
    """The lock file cannot be read or written, or an image is not in it."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """The digests of images by name; `path` is their file, which may not exist yet."""

    path: Path
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def beside(cls, root: Path) -> "Lock":
        """Read the lock file of the repository at `root`; without a file, the lock is empty. Blocking.

        Raises:
            LockError: The file cannot be read, or is not valid.
        """
        path = root / FILE
        try:
            table = tomllib.loads(read_small(path, MAX_FILE).decode())
        except FileNotFoundError:
            return cls(path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise LockError(
                f"{path}: not valid TOML: {error}; remove it, and `patchyard lock` writes a new one"
            ) from None
        except OSError as error:
            raise LockError(f"{path}: cannot be read: {error.strerror}") from None
        if table.get("version") != VERSION:
            raise LockError(
                f"{path}: version {table.get('version')!r} is unknown; this patchyard reads {VERSION}"
            )
        images = table.get("images", {})
        for name, digest in images.items() if isinstance(images, dict) else [("images", images)]:
            if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
                raise LockError(
                    f"{path}: {name}: expected a digest such as sha256:… (64 digits), not {digest!r}"
                )
        return cls(path, images)

    @property
    def text(self) -> str:
        """The content of the file, sorted by name, so that changing one image changes one line."""
        # A JSON string is a valid TOML basic string: https://toml.io/en/v1.0.0#string
        lines = (f"{json.dumps(name)} = {json.dumps(digest)}\n" for name, digest in sorted(self.images.items()))
        return HEAD + "".join(lines)

    def with_images(self, images: Mapping[str, str]) -> "Lock":
        """Return a lock with these digests added, or in place of those of the same images."""
        return Lock(self.path, {**self.images, **images})

    def write(self) -> None:
        """Write the file, atomically. Blocking.

        Raises:
            LockError: The file cannot be written.
        """
        try:
            write_atomically(self.path, self.text.encode(), mode=0o644, durable=True)
        except OSError as error:
            raise LockError(f"cannot write {self.path}: {error.strerror}") from None

    def unlocked(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the images without a digest, neither in their name nor in the lock, in order."""
        return tuple(name for name in dict.fromkeys(names) if not digest_of(name) and name not in self.images)

    def check(self, names: Iterable[str]) -> None:
        """Check that every image has a digest.

        Raises:
            LockError: Some have none; the message names them all.
        """
        if missing := self.unlocked(names):
            noun, verb = ("image", "is") if len(missing) == 1 else ("images", "are")
            adds = " ".join(f"--image {name}" for name in missing)
            raise LockError(
                f"{noun} {', '.join(missing)} {verb} not in {self.path}, and only locked images are allowed; "
                f"`patchyard lock {adds}` adds {'it' if len(missing) == 1 else 'them'}"
            )
