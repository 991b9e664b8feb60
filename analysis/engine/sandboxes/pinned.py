"""Images of software sets say which pinned list they were made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from analysis.engine.sandboxes.base import SandboxError

PINS, SET = "analysis.pins", "analysis.set"
"""Labels of images: hash of the list, and name of the software set."""
_REPOSITORY = Path(__file__).resolve().parents[3]


def pinned_list(software: str) -> Path:
    """Pinned list of a software set."""
    return Path(os.environ.get("ANALYSIS_BASE") or _REPOSITORY) / "sandboxes" / f"{software}.txt"


def list_hash(path: Path) -> str:
    """Hash of a pinned list, without its comments; ``sandboxes/environment.sh`` names environments by it."""
    lines = path.read_bytes().splitlines(keepends=True)
    return sha256(b"".join(line for line in lines if not line.lstrip(b" ").startswith(b"#"))).hexdigest()[:12]


def check_image(sandbox: str, labels: Mapping[str, str], software: str, how: str) -> None:
    """See that an image holds what the pinned list says.

    Args:
        sandbox: its name.
        labels: of the image.
        software: set that it has to hold.
        how: command that builds it, in part.

    Raises:
        SandboxError: if it was made of another list, or does not say of which.
    """
    found, wanted = labels.get(PINS), list_hash(pinned_list(software))
    if found == wanted:
        return
    what = f"was built from another list ({found}, it is {wanted} now)" if found else "does not say what is in it"
    msg = f"{sandbox} {what}: build it again ('{how} ...', see docs/sandboxes.md), or name it with --sandbox"
    raise SandboxError(msg)
