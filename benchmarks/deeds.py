"""What tasks in a sandbox do, be they those of plain law or ours. It needs nothing but law: images may have no more."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import law

FOREVER = 600


class Deeds(law.Task):  # type: ignore[misc]
    """A task that does one thing."""

    exclude_index = True

    place: str
    what: str

    def do(self) -> Any:
        """Do it; what is returned is the output."""
        return getattr(self, f"do_{self.what}")()

    def do_see(self) -> dict[str, Any]:
        """Say what this process sees."""
        return {
            "variables": dict(os.environ),
            "prefix": sys.prefix,
            "user": [os.getuid(), os.getgid()],
            "can_write_code": _can_append(Path(law.__file__)) or _can_append(Path(__file__)),
            "option": law.config.get_expanded("toy", "option", default=None),
        }

    def do_fail(self) -> None:
        """Fail, and leave a trace of it."""
        Path(self.place, f"ran_{time.monotonic_ns()}").touch()
        msg = "a value"
        raise ValueError(msg)

    def do_wait(self) -> None:
        """Say who this is, and wait."""
        path = Path(self.place, "waits")
        path.with_suffix(".new").write_text(str(os.getpid()))
        path.with_suffix(".new").rename(path)
        time.sleep(FOREVER)

    def on_failure(self, exception: BaseException) -> Any:
        """Leave what is known of a failure where the task was started."""
        if "LAW_SANDBOX_SWITCHED" not in os.environ:  # plain law calls it inside as well
            Path(self.place, "failure.json").write_text(json.dumps([type(exception).__name__, str(exception)]))
        return super().on_failure(exception)


def _can_append(path: Path) -> bool:
    try:
        path.open("ab").close()
    except OSError:
        return False
    return True
