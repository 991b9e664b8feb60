"""The storage servers of the testbed from Python (``docs/testbed.md``)."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from tests.testbed import HERE, System, Testbed, TestbedError, command

Protocol = Literal["root", "https", "davs"]

SHARED = {"xrd-open2": "xrd-open", "xrd-readonly": "xrd-open"}
"""Servers of the data of another."""
CONNECTING = {"protocol", "login", "auth", "bind", "set", "ping", "sigver", "endsess"}
"""Requests of ``root://`` that are about the connection, not about files."""
BRIDGED = {
    **{"3001": "query", "3004": "dirlist", "3008": "mkdir", "3009": "mv", "3010": "open"},
    **{"3014": "rm", "3015": "rmdir", "3017": "stat", "3019": "write"},
}
"""What the server asks its own protocol for a request of HTTP, as the log numbers it."""
LINE = re.compile(
    r"(?P<link>\S+) (?:Xrootd_Protocol: \S+ (?:req=(?P<request>\w+)|Bridge req=(?P<bridged>\d+))"
    r"|http_Protocol: Sending resp: (?P<code>\d+))"
)
"""A line of the log that tells of a request: that one of ``root://`` came, what one of HTTP became, or its answer."""


class Mark(NamedTuple):
    """A moment in the life of a server.

    Args:
        server: which.
        position: [bytes] length of its log then.
    """

    server: str
    position: int


class Way(NamedTuple):
    """How a store is reached.

    Args:
        protocol: of its URL.
        credential: see :meth:`Storage.credential`.
    """

    protocol: Protocol
    credential: str

    def __str__(self) -> str:
        return f"{self.protocol}-{self.credential}"


WAYS = ROOT, ROOT_TOKEN, DAVS, TOKEN = (
    Way("root", "alice.proxy"),
    Way("root", "write.token"),
    Way("davs", "alice.proxy"),
    Way("davs", "write.token"),
)
"""All of them."""


def count(log: str) -> Counter[str]:
    """Requests that a log tells of, by kind: ``stat``, ``dirlist``, ``open``, ``write``, ...

    One of HTTP counts once, as the last thing that it became: a deletion, for which the server looks first, as ``rm``.
    """
    requests: Counter[str] = Counter()
    became: dict[str, str] = {}
    for line in LINE.finditer(log):
        link, request, bridged, code = line.group("link", "request", "bridged", "code")
        if request:
            requests[request] += request not in CONNECTING
        elif bridged:
            became[link] = BRIDGED.get(bridged, became.get(link, "other"))
        elif code != "100":  # "continue": the answer is still to come
            requests[became.pop(link, "other")] += 1
    return +requests


@dataclass(frozen=True)
class Storage(System):
    """The storage servers; each is a daemon that can be stopped, killed and started alone, as those of any system."""

    name: str = "storage"
    testbed: Testbed = field(default_factory=Testbed)

    @property
    def directory(self) -> Path:
        """Where all of it is."""
        return self.testbed.directory / self.name

    @cached_property
    def variables(self) -> dict[str, str]:
        """What ``tests/testbed/env storage`` says."""
        said = command("env", "storage").splitlines()
        return dict(shlex.split(line)[1].split("=", 1) for line in said)

    def url(self, server: str, protocol: Protocol = "root", path: str = "", port: int | None = None) -> str:
        """Address of a file or folder.

        Args:
            server: such as ``xrd-open``.
            protocol: of the client; ``davs`` is what gfal2 calls ``https``.
            path: below that which the server exports; empty: the whole of it.
            port: of a :class:`FaultProxy` before the server.

        Returns:
            URL.
        """
        variable = f"TESTBED_{server.upper().replace('-', '_')}{'' if protocol == 'root' else '_HTTPS'}"
        base = self.variables[variable].replace("https://", f"{protocol}://")
        if port is not None:
            base = re.sub(r":\d+", f":{port}", base)
        return f"{base}/{path}" if path else base

    def port(self, server: str, protocol: Protocol = "root") -> int:
        """Where a server listens."""
        found = re.search(r":(\d+)", self.url(server, protocol))
        assert found is not None
        return int(found[1])

    def folder(self, server: str) -> Path:
        """What a server exports, as it is on the disk; of a cache: what it keeps."""
        return self.directory / "data" / SHARED.get(server, server) / "store"

    def scratch(self, server: str, name: str) -> Path:
        """A new, empty folder of a server, as it is on the disk; what had that name is removed."""
        folder = self.folder(server) / name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        shutil.chown(folder, "xrootd", "xrootd")
        return folder

    def credential(self, name: str, user: str = "root") -> Path:
        """File of a credential.

        Args:
            name: ``alice.proxy`` may do all at ``xrd-auth``, ``mallory.proxy`` nothing; ``expired.proxy`` and
                ``stranger.proxy`` (of an authority that nobody trusts) are alice's; ``write.token``, ``read.token``;
                ``expired.token`` and ``audience.token`` (for other servers) would allow to write.
            user: user of this machine who owns the copy: ``root`` or the testbed's.

        Returns:
            Path; only the owner can read it.
        """
        return self.directory / "credentials" / user / name

    def environment(self, credential: str | None = None, user: str = "root") -> dict[str, str]:
        """Variables for clients, to be added to others.

        Args:
            credential: as in :meth:`credential`; by default none.
            user: the same.

        Returns:
            Variables.
        """
        if credential is None:
            return dict(self.variables)
        variable = "X509_USER_PROXY" if credential.endswith(".proxy") else "BEARER_TOKEN_FILE"
        return {**self.variables, variable: str(self.credential(credential, user))}

    @property
    def bindings(self) -> Path:
        """Directory for PYTHONPATH with the module ``gfal2``, for a Python of the version of the system's."""
        return self.directory / "python"

    def token(self, scope: str = "storage.read:/ storage.modify:/", lifetime: float = 3600) -> str:
        """A token of alice, such as one that ends soon; ``lifetime`` in seconds."""
        return self._make("token", "--scope", scope, f"--lifetime={lifetime}")

    def proxy(self, user: str = "alice", lifetime: float = 3600) -> str:
        """A proxy, such as one that ends soon; ``lifetime`` in seconds."""
        return self._make("proxy", user, f"--lifetime={lifetime}") + "\n"

    def _make(self, *arguments: str) -> str:
        line = ["/usr/bin/python3", str(HERE / "credentials.py"), str(self.directory), *arguments]
        said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        if said.returncode != 0:
            msg = f"{shlex.join(line)} failed:\n{said.stderr}"
            raise TestbedError(msg)
        return said.stdout.strip()

    def mark(self, server: str) -> Mark:
        """Now, for :meth:`requests`."""
        return Mark(server, self._log(server).stat().st_size)

    def requests(self, since: Mark) -> Counter[str]:
        """Requests to a server since a mark, by kind, as its own log has them.

        They are named as in the protocol of ``root://`` (``stat``, ``dirlist``, ``open``, ``read``, ...; not what is
        about the connection), those of HTTP by what they become in it: ``GET`` is ``open``, ``PUT`` is ``write``.
        """
        with self._log(since.server).open("rb") as log:
            log.seek(since.position)
            return count(log.read().decode(errors="replace"))

    def _log(self, server: str) -> Path:
        return self.directory / "log" / f"{server}.log"
