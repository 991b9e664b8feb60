"""Docker: images by their digest, containers by the daemon's own interface.

What is in a command line of ``docker`` for law is a field of a request here: nothing is quoted, nothing parsed. The
container shares process ids, network and host name with this machine, so that locks and manifests tell the truth;
and as it names a user, outputs belong to who runs it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from analysis.engine.sandboxes.base import PATIENCE, Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.pinned import check_image

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.images import Image

LABEL = "analysis.sandbox"
"""Of all containers: who started them, as ``host:pid``."""
_TIMEOUT = 60


class DockerSandbox(Sandbox):
    """An image of docker, or of podman where it offers docker's interface.

    Args:
        name: of the image.
        software: set that it holds.
    """

    kind = "docker"
    shares_files = False

    def identity(self) -> str:
        """See :meth:`Sandbox.identity`."""
        return str(self._image().id)

    def state(self) -> str:
        """Digest of the image."""
        return self.identity()

    def prepare(self) -> None:
        """See :meth:`Sandbox.prepare`."""
        if self.software:
            check_image(str(self), self._image().labels, self.software, f"docker build -t {self.name}")

    def start(self, start: Start) -> Running:
        """See :meth:`Sandbox.start`."""
        from docker.errors import APIError, DockerException
        from docker.types import DeviceRequest, Mount

        from analysis.engine.sandboxes.settings import option

        gpus = option("docker_sandbox", "gpus", "")
        requests = [DeviceRequest(count=-1 if gpus == "all" else int(gpus), capabilities=[["gpu"]])] if gpus else []
        with self._daemon() as client:
            try:
                container = client.containers.create(
                    self._image().id,
                    ["python", *start.command],
                    entrypoint="",
                    **user_of(client, start.user),
                    environment=dict(start.environment),
                    mounts=[Mount(str(m.path), str(m.path), "bind", read_only=not m.writable) for m in start.mounts],
                    working_dir=str(start.scratch),
                    network_mode="host",
                    pid_mode="host",
                    uts_mode="host",
                    ipc_mode="host",  # else shared memory has 64 MB, which libraries for training use up
                    auto_remove=True,
                    labels={LABEL: f"{socket.gethostname()}:{os.getpid()}"},
                    device_requests=requests,
                )
                return _Container(container)
            except APIError as error:
                msg = f"{self} does not start: {error.explanation or error}"
                raise SandboxError(msg) from error
            except DockerException as error:
                raise self._no_daemon(error) from error

    def _image(self) -> Image:
        from docker.errors import ImageNotFound

        with self._daemon() as client:
            try:
                return client.images.get(self.name)
            except ImageNotFound as error:
                how = f"docker build -t {self.name} --build-arg SET={self.software} -f sandboxes/Dockerfile sandboxes"
                how = how if self.software else f"docker pull {self.name}"
                msg = f"{self}: there is no image {self.name} on this machine: '{how}'"
                raise SandboxError(msg) from error

    @contextlib.contextmanager
    def _daemon(self) -> Iterator[DockerClient]:
        from docker.errors import APIError, DockerException
        from requests import RequestException

        try:
            yield _client(os.getpid())
        except APIError:
            raise
        except (DockerException, RequestException) as error:
            raise self._no_daemon(error) from error

    def _no_daemon(self, error: Exception) -> SandboxError:
        where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        reason = "permission denied" if "Permission denied" in str(error) else "no answer"
        what = f"docker's daemon at {where} cannot be reached ({reason})"
        return SandboxError(f"{self}: {what}: start it, or set DOCKER_HOST")


def user_of(client: DockerClient, ids: tuple[int, int]) -> dict[str, Any]:
    """Who the container runs as: who started it, which in one of a daemon without rights is root.

    Args:
        client: of the daemon.
        ids: of user and group.

    Returns:
        Arguments for the container.
    """
    info = client.info()
    if info.get("Rootless") or "name=rootless" in (info.get("SecurityOptions") or ()):  # of podman, of docker
        return {"user": "0:0"}
    return {"user": f"{ids[0]}:{ids[1]}", "group_add": [group for group in os.getgroups() if group != ids[1]]}


@functools.cache
def _client(_process: int) -> DockerClient:
    """The daemon's interface; of a process of its own, as connections do not survive a fork."""
    import docker

    return docker.from_env(timeout=_TIMEOUT)


class _Container(Running):
    """A container that is about to run; what its first process prints is printed here.

    Args:
        container: not started yet.
    """

    def __init__(self, container: Container) -> None:
        self._container = container
        output = container.attach(stdout=True, stderr=True, stream=True, demux=True)
        container.start()
        self._printer = threading.Thread(target=_print, args=(output,), daemon=True)
        self._printer.start()

    def has_ended(self) -> bool:
        """See :meth:`Running.has_ended`."""
        return not self._printer.is_alive()  # what it prints ends with it

    def exit_code(self) -> int | None:
        """See :meth:`Running.exit_code`; the daemon removes what could be asked for it."""
        return None

    def let_go(self) -> None:
        """See :meth:`Running.let_go`; the daemon does."""

    def stop(self) -> None:
        """See :meth:`Running.stop`."""
        self._printer.join(PATIENCE + 2)
        if self._printer.is_alive():
            with _unless_gone():
                self._container.remove(force=True)


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """A container that is gone, or a daemon that is, has nothing more to say."""
    from docker.errors import APIError, DockerException
    from requests import RequestException

    with contextlib.suppress(APIError, DockerException, RequestException):
        yield


def _print(output: Any) -> None:
    with _unless_gone():
        for parts in output:
            for part, stream in zip(parts, (sys.stdout, sys.stderr), strict=True):
                if part:
                    stream.write(part.decode(errors="replace"))
                    stream.flush()
