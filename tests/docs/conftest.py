"""The finished store of the runs of the chain."""

from __future__ import annotations

from tests.integration.conftest import demo, demo_store

__all__ = ["demo", "demo_store"]
