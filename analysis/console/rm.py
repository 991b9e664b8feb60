"""``analysis rm``: remove files and folders of stores, and nothing outside of them."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from analysis.console.files import FilesError, agreed, count, find_place, is_terminal, one_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis.engine.storage.transfer import Place

HELP = "remove files, or with -r folders, of a store; never its root, never what a link leads to"
_SHOWN = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "addresses", metavar="ADDRESS", nargs="+", help="NAME:/PATH in the store NAME, or a path in a local store"
    )
    parser.add_argument("-r", "--recursive", action="store_true", help="remove folders with all in them")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show what would be removed, and remove nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask; needed for -r where there is no terminal")


def run(arguments: argparse.Namespace) -> int:
    """Remove.

    Args:
        arguments: ``addresses``, ``recursive``, ``dry_run`` and ``yes``.

    Returns:
        Exit code: 1 if something was not removed.

    Raises:
        AnalysisError: if nothing is removed, since one of the addresses is not there, or not to be removed.
    """
    from analysis.engine.storage.trees import remove_tree

    with one_sentence():
        places = [find_place(text) for text in arguments.addresses]
        files, has_folders = _look(places, arguments.recursive)
        total = count(len(files), sum(size for _, size in files))
        if arguments.dry_run:
            for address, _ in files:
                print(address)
            print(f"{total} would be removed", file=sys.stderr)
            return 0
        if has_folders and not arguments.yes:
            if not is_terminal():
                msg = "there is no terminal to ask on: add --yes to remove folders"
                raise FilesError(msg)
            if not agreed(f"Remove {total}"):
                print("Nothing was removed.", file=sys.stderr)
                return 1
        removed = [remove_tree(where) for where in places]
    print(f"{count(sum(r.files for r in removed), sum(r.size for r in removed))} removed")
    left = [one for r in removed for one in r.left]
    for where, why in left[:_SHOWN]:
        print(f"{where} is still there: {why}", file=sys.stderr)
    if len(left) > _SHOWN:
        print(f"and {len(left) - _SHOWN} more", file=sys.stderr)
    return 1 if left else 0


def _look(places: Sequence[Place], recursive: bool) -> tuple[list[tuple[str, int]], bool]:
    """Files that would be removed with their sizes, and whether there are folders.

    Raises:
        AnalysisError: if one may not be removed.
    """
    from analysis.engine.storage.transfer import entry
    from analysis.engine.storage.trees import check_removable, tree

    files: dict[str, int] = {}
    has_folders = False
    for where in places:
        check_removable(where)
        there = entry(where)
        if there is None:
            msg = f"{where}: there is no such file or folder; nothing was removed"
            raise FilesError(msg)
        if there.is_folder and not recursive:
            msg = f"{where} is a folder: add -r to remove it with all in it; nothing was removed"
            raise FilesError(msg)
        has_folders |= there.is_folder
        if there.is_folder:
            found = tree(where, everything=True)
            files |= {str(item.place): item.entry.size for item in found if not item.entry.is_folder}
        else:
            files[str(where)] = there.size
    return list(files.items()), has_folders
