"""`patchyard.lock`: the digest of each image by name, which users commit beside `patchyard.toml`."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from containers.dagger_engine.images import DIGEST, digest_of
from containers.filesystem import write_atomically
from pipeline.config.settings import Settings
from tasks.errors import PatchyardError
from tasks.model import Mode, Plan

FILE = "patchyard.lock"
VERSION = 1
HEAD = f"""\
# The digest of each image by name, written by `patchyard lock`; `patchyard lock --update` looks them up anew.
version = {VERSION}

[images]
"""


class LockError(PatchyardError):
    """The lock file cannot be read or written, or an image is not in it."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Lock:
    """The digests of images by name; `path` is where they stand, whether or not the file is there."""

    path: Path
    images: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def beside(cls, root: Path) -> "Lock":
        """Read the lock file of the repository at `root`; empty where there is none.

        Raises:
            LockError: It is not as `patchyard lock` writes it.
        """
        path = root / FILE
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise LockError(f"{path}: not valid TOML: {error}; `patchyard lock` writes it anew") from None
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
        """The content of the file, sorted by name, so that a change of one image is a change of one line."""
        # What JSON writes as a text, TOML reads as one.
        lines = (f"{json.dumps(name)} = {json.dumps(digest)}\n" for name, digest in sorted(self.images.items()))
        return HEAD + "".join(lines)

    def with_images(self, images: Mapping[str, str]) -> "Lock":
        """Return it with more images, or with other digests for those that it has."""
        return Lock(self.path, {**self.images, **images})

    def write(self) -> None:
        """Write the file, whole or not at all.

        Raises:
            LockError: It cannot be written.
        """
        try:
            write_atomically(self.path, self.text.encode(), mode=0o644, durable=True)
        except OSError as error:
            raise LockError(f"cannot write {self.path}: {error.strerror}") from None

    def lacks(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the images that neither name a digest themselves nor are in the lock, in order."""
        return tuple(name for name in dict.fromkeys(names) if not digest_of(name) and name not in self.images)

    def check(self, names: Iterable[str]) -> None:
        """Refuse images that are not locked.

        Raises:
            LockError: Names them all.
        """
        if missing := self.lacks(names):
            noun, verb = ("image", "is") if len(missing) == 1 else ("images", "are")
            adds = " ".join(f"--image {name}" for name in missing)
            raise LockError(
                f"{noun} {', '.join(missing)} {verb} not in {self.path}, and only locked ones are taken; "
                f"`patchyard lock {adds}` adds {'it' if len(missing) == 1 else 'them'}"
            )


def images_of(plan: Plan, settings: Settings, modes: Iterable[Mode] = tuple(Mode)) -> tuple[str, ...]:
    """Return the images of a plan's tasks as they are named, each once, in the plan's order.

    Args:
        plan: The plan.
        settings: As resolved for the plan.
        modes: Only of batches that are run in these.
    """
    wanted = set(modes)
    return tuple(
        dict.fromkeys(
            settings.image_named(task, batch)
            for batch in plan.batches
            if settings.mode_for(batch) in wanted
            for task in batch.tasks
            if not task.completed
        )
    )
