"""A file system on which files can be cloned. Only root can mount one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE = 400 << 20


@contextmanager
def with_reflinks(path: Path) -> Iterator[None]:
    """A new XFS at a path; skips the test where none can be mounted."""
    image = path.with_suffix(".img")
    if os.geteuid() != 0 or not (program := shutil.which("mkfs.xfs")):
        pytest.skip("a file system with reflinks needs root and mkfs.xfs (package xfsprogs)")
    image.write_bytes(b"")
    os.truncate(image, SIZE)
    subprocess.run([program, "-q", image], check=True)
    path.mkdir()
    mounted = subprocess.run(["mount", "-o", "loop", image, path], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system with reflinks can be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        image.unlink()
