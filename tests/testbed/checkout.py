"""Copies of the checkout, kept up to date file by file: the checkout itself may be in a home that others cannot enter.

``python3 checkout.py SOURCE TARGET OWNER``; needs no package.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

CACHES = {".git", ".venv", ".law", "data", "__pycache__", "build", "dist", "site"}


def files(source: Path) -> set[str]:
    """Paths, relative to a checkout, of the files that git knows or would add; without git, of all but caches."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):  # no git, or an unpacked archive
        found = (path.relative_to(source) for path in source.rglob("*") if path.is_symlink() or path.is_file())
        return {str(path) for path in found if not CACHES.intersection(path.parts)}
    return {name for name in listed if name and os.path.lexists(source / name)}


def synchronise(source: Path, target: Path, owner: str) -> None:
    """Bring a copy up to date.

    What is gone from the source goes from the copy; what runs made in the copy stays.

    Args:
        source: the checkout.
        target: directory of the copy; it exists.
        owner: user who gets the files.
    """
    record = target.with_name(f"{target.name}.files")
    with record.open("a+") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        locked.seek(0)
        before, now = set(locked.read().splitlines()), files(source)
        locked.write("".join(f"{name}\n" for name in sorted(now - before)))
        locked.flush()  # first: whatever happens next, the record has all that may be in the copy
        for name in sorted(before - now):
            (target / name).unlink(missing_ok=True)
        for name in sorted(now):
            copy(source / name, target / name, owner)
        locked.truncate(0)
        locked.write("".join(f"{name}\n" for name in sorted(now)))


def copy(source: Path, target: Path, owner: str) -> None:
    """Make a file like another, at once, if it is not."""
    try:
        wanted = source.lstat()
    except FileNotFoundError:  # removed a moment ago
        return
    if target.is_symlink() or target.exists():
        present = target.lstat()
        if all(
            one == other
            for one, other in zip(
                (wanted.st_size, wanted.st_mtime_ns, wanted.st_mode | 0o444),
                (present.st_size, present.st_mtime_ns, present.st_mode),
                strict=True,
            )
        ):
            return
    for folder in reversed([parent for parent in target.parents if not parent.exists()]):
        folder.mkdir()
        shutil.chown(folder, owner, owner)
    temporary = target.with_name(f".{target.name}.new")
    shutil.copy2(source, temporary, follow_symlinks=False)
    if not temporary.is_symlink():
        temporary.chmod((wanted.st_mode & 0o777) | 0o444)
        shutil.chown(temporary, owner, owner)
    temporary.replace(target)


if __name__ == "__main__":
    synchronise(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
