from __future__ import annotations

import pytest

from tests.engine.storage.fake import Server


@pytest.fixture
def server() -> Server:
    """A server of the fake interface, with one old file."""
    server = Server()
    server.add("store/v1/old", b"old")
    return server
