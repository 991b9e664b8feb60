"""What sandboxes are started with: docker and apptainer."""

from __future__ import annotations

import grp
import http.client
import importlib.util
import json
import os
import pwd
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.engine.doctor.command import run
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow

TIMEOUT = 8.0
FUSE = Path("/dev/fuse")
_UNIX = "unix://"


def checks() -> Sequence[Check]:
    """Both of them."""
    return [Check("docker", docker), Check("apptainer", apptainer)]


# docker


def docker(shell: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Whether its daemon, or podman's, answers this user.

    Args:
        shell: variables of this shell.
    """
    address = docker_address(shell)
    if address is None:
        client = shutil.which("docker") or shutil.which("podman")
        advice = "start the daemon (rootless: 'systemctl --user start docker') if you want to use containers"
        found = f"{client} is there, but no daemon runs" if client else "neither docker nor podman is installed"
        yield _unused("docker", found, advice if client else "take venv or apptainer, or have docker installed")
        return
    try:
        answer = docker_version(address)
    except PermissionError:
        path = Path(address.removeprefix(_UNIX))
        yield _unused("docker", f"{_owner(path)}; you are {_me()}", _joining(path), is_there=True)
    except Exception as error:
        found = f"no answer from {address} ({_reason(error)})"
        advice = "start the daemon, or correct DOCKER_HOST" if shell.get("DOCKER_HOST") else "start the daemon"
        yield _unused("docker", found, advice, is_there=True)
    else:
        whose = f"; {_owner(Path(address.removeprefix(_UNIX)))}" if address.startswith(_UNIX) else ""
        kind = "podman" if "podman" in json.dumps(answer).lower() else "docker"
        yield green("docker", f"{kind} {answer.get('Version', '?')} at {address}{whose}; you are {_me()}")


def docker_address(shell: Mapping[str, str]) -> str | None:
    """Where the daemon is: ``DOCKER_HOST``, or the first socket that is there; ``None`` if there is none.

    Args:
        shell: variables of this shell.
    """
    if named := shell.get("DOCKER_HOST"):
        return named
    own = shell.get("XDG_RUNTIME_DIR")
    places = ["/var/run/docker.sock", "/run/docker.sock", *([f"{own}/docker.sock"] if own else [])]
    places += [*([f"{own}/podman/podman.sock"] if own else []), "/run/podman/podman.sock"]
    return next((f"{_UNIX}{place}" for place in places if os.path.exists(place)), None)  # noqa: PTH110


def docker_version(address: str) -> dict[str, Any]:
    """What the daemon says of itself; by the Docker SDK for Python if it is there, else by HTTP.

    Args:
        address: such as ``unix:///var/run/docker.sock`` or ``tcp://host:2375``.

    Raises:
        PermissionError: if this user may not ask it.
        Exception: if it does not answer.
    """
    if address.startswith(_UNIX):
        with socket.socket(socket.AF_UNIX) as probe:  # the SDK hides why it cannot connect
            probe.settimeout(TIMEOUT)
            probe.connect(address.removeprefix(_UNIX))
    if importlib.util.find_spec("docker") is None:
        return _version_by_http(address)
    import docker as sdk

    client = sdk.DockerClient(base_url=address, timeout=int(TIMEOUT))
    try:
        return dict(client.version())
    finally:
        client.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP to a socket of this machine."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def _version_by_http(address: str) -> dict[str, Any]:
    scheme, _, place = address.partition("://")
    connection: http.client.HTTPConnection
    if scheme == "unix":
        connection = _UnixConnection(place)
    elif scheme in ("tcp", "http"):
        connection = http.client.HTTPConnection(place, timeout=TIMEOUT)
    else:
        msg = f"{scheme}:// needs the Docker SDK for Python"
        raise OSError(msg)
    try:
        connection.request("GET", "/version")
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != http.HTTPStatus.OK:
            msg = f"HTTP {answer.status}"
            raise OSError(msg)
        return dict(json.loads(text))
    finally:
        connection.close()


# apptainer


def apptainer() -> Iterator[Finding]:
    """Whether it is there, and may start containers as this user."""
    program = shutil.which("apptainer") or shutil.which("singularity")
    if program is None:
        yield _unused("apptainer", "neither apptainer nor singularity is on PATH", "load its module, or install it")
        return
    said = run([program, "--version"], TIMEOUT)
    if said.problem:
        yield _unused("apptainer", f"{program} does not start ({said.problem})", "install it again", is_there=True)
        return
    version = said.output.strip()
    why = namespaces_problem()
    if why is None and not may_mount():
        found = f"{version}, but this user may not open {FUSE}, by which it mounts images"
        yield _unused("apptainer", found, f"have the site allow it, as udev does: chmod 666 {FUSE}", is_there=True)
    elif why is None:
        yield green("apptainer", f"{version}, starts unprivileged")
    elif os.geteuid() == 0 or is_setuid(program):
        yield green("apptainer", f"{version}, starts {'as root' if os.geteuid() == 0 else 'by its setuid program'}")
    else:
        advice = "have the site allow user namespaces (user.max_user_namespaces), or install apptainer-suid"
        yield _unused("apptainer", f"{version}, but may not start containers: {why}", advice, is_there=True)


def may_mount() -> bool:
    """Whether this user may mount images by FUSE; where there is none at all, they are unpacked instead."""
    return not FUSE.exists() or os.access(FUSE, os.R_OK | os.W_OK)


def namespaces_problem() -> str | None:
    """Why this user cannot make user namespaces; ``None`` if that works: it is tried, as settings do not tell all."""
    program = shutil.which("unshare")
    if program is None:
        limit = Path("/proc/sys/user/max_user_namespaces")
        return None if limit.exists() and limit.read_text().strip() != "0" else "there are no user namespaces"
    return run([program, "--user", "--map-root-user", "true"], TIMEOUT).problem or None


def is_setuid(program: str) -> bool:
    """Whether an installation of apptainer has the program that starts containers as root."""
    prefix = Path(program).resolve().parents[1]
    places = [folder / "libexec" for folder in (prefix, Path("/usr"), Path("/usr/lib/x86_64-linux-gnu"))]
    starters = [place / kind / "bin" / "starter-suid" for place in places for kind in ("apptainer", "singularity")]
    return any(starter.exists() and starter.stat().st_mode & 0o4000 for starter in starters)


# both


def is_wanted(kind: str) -> bool:
    """Whether ``law.cfg`` has tasks run in it.

    Args:
        kind: ``docker`` or ``apptainer``.
    """
    import law

    values = [str(value) for _, value in law.config.items("sandboxes")] if law.config.has_section("sandboxes") else []
    words = (kind, "singularity") if kind == "apptainer" else (kind,)
    return any(value.partition("::")[0].strip() in words for value in values)


def _unused(kind: str, found: str, advice: str, *, is_there: bool = False) -> Finding:
    """Red if tasks are to run in it, yellow if it is there but does not work, else not used."""
    if is_wanted(kind):
        return red(kind, f"{found}, and section sandboxes of law.cfg asks for it", advice)
    return yellow(kind, found, advice) if is_there else grey(kind, found, advice)


def _owner(path: Path) -> str:
    status = path.stat()
    return f"{path} is of {_name_of_user(status.st_uid)}:{_name_of_group(status.st_gid)}, {status.st_mode & 0o777:04o}"


def _joining(path: Path) -> str:
    group = _name_of_group(path.stat().st_gid)
    rootless = "use rootless docker or apptainer"
    if group == "root":
        return f"ask the administrator for a group that may use it, or {rootless}"
    return (
        f"ask the administrator for 'usermod -aG {group} {_name_of_user(os.getuid())}' and log in again, or {rootless}"
    )


def _me() -> str:
    groups = sorted({os.getgid(), *os.getgroups()})
    return f"{_name_of_user(os.getuid())} in {', '.join(map(_name_of_group, groups))}"


def _name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _name_of_group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
