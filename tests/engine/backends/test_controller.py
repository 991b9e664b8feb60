from __future__ import annotations
import pytest
from tests.engine.backends.fake import *

def test_all(site: Site, capsys) -> None:
    import time
    t0 = time.perf_counter()
    w = site.workflow(5)
    site.run(w)
    print(time.perf_counter() - t0, site.fake.times(), site.fake.sizes(), site.clock.now - site.clock.start, site.fake.calls, site.results(w), site.done(w))
    t0 = time.perf_counter()
    w = site.workflow(5, label="b")
    site.run(w)
    print(time.perf_counter() - t0)
    print(capsys.readouterr().err)
    assert 0
