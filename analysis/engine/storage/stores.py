"""The stores of the configuration: one object per store and process."""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from analysis.engine.errors import ParameterError
from analysis.engine.storage import settings
from analysis.engine.storage.addresses import NAME, AddressError, parse
from analysis.engine.storage.local import LocalStore

if TYPE_CHECKING:
    from analysis.engine.storage.base import Interface, Store
    from analysis.engine.storage.mirrored import MirroredStore
    from analysis.engine.storage.remote import RemoteStore
    from analysis.engine.storage.retry import Patience
    from analysis.engine.storage.settings import RemoteSettings


def store_for(family: str) -> Store:
    """The store of the outputs of a task family: section ``outputs`` of ``law.cfg``.

    Raises:
        ParameterError: if the configuration makes no sense, or ``ANALYSIS_STORE`` is needed and not set.
    """
    return _store_for(family, os.environ.get("ANALYSIS_STORE"))


@functools.lru_cache(maxsize=1024)
def _store_for(family: str, _local_root: str | None) -> Store:
    """Asked several times for each branch; the configuration does not change while a process runs."""
    return _store(settings.choice_for(family))


def forget() -> None:
    """Read the configuration again, as after a change of it."""
    _store_for.cache_clear()


def store_named(name: str) -> Store:
    """The store of that name: ``local``, or a section of ``law.cfg`` with an option ``base``.

    Where task families mirror it, it is the mirrored one, so that what people remove is removed from both.

    Raises:
        ParameterError: if there is none.
    """
    if name == "local":
        return local_store()
    kinds = {choice.kind for choice in settings.choices() if choice.section == name != ""}
    if "local" in kinds:
        return _store(settings.Choice("local", name))
    if not (NAME.fullmatch(name) and settings.is_store(name)) or name in settings.RESERVED:
        known = dict.fromkeys(["local", *(choice.section for choice in settings.choices() if choice.section)])
        msg = f"there is no store {name!r}: law.cfg has {', '.join(known)}; add a section {name} with an option base"
        raise ParameterError(msg)
    return _store(settings.Choice("wlcg_mirrored" if "wlcg_mirrored" in kinds else "wlcg", name))


def find(address: str) -> tuple[Store, PurePath]:
    """The store of an address, and the address as that store takes it.

    Args:
        address: such as ``wlcg_fs:/v1/Report``, or a path on this machine in the root of a local store.

    Raises:
        AddressError: if it is in no store, or not safe.
        ParameterError: if there is no such store.
    """
    head, slashes, _ = address.partition("://")
    if slashes and "/" not in head:
        msg = f"{address!r} is a URL: write NAME:/PATH with the name of the store, a section of law.cfg"
        raise AddressError(msg)
    name, colon, _ = address.partition(":")
    if colon and NAME.fullmatch(name):
        path = parse(address)
        store = store_named(name)
        return store, store.root.joinpath(*path.parts[1:])
    local = Path(os.path.abspath(address))  # noqa: PTH100  (what a link leads to is looked at below)
    if "\0" in address:
        msg = f"{address!r} is no path: it has a NUL character in it"
        raise AddressError(msg)
    chosen = dict.fromkeys(choice for choice in settings.choices() if choice.kind == "local")
    stores = [_store(choice) for choice in chosen if choice.section or os.environ.get("ANALYSIS_STORE")]
    for store in sorted(stores, key=lambda candidate: -len(candidate.root.parts)):
        root = Path(store.root)
        if local.is_relative_to(root) and local.resolve().is_relative_to(root.resolve()):
            return store, local
    roots = ", ".join(str(store.root) for store in stores)
    msg = f"{address!r} is in no store: write NAME:/PATH, or a path in {roots or '$ANALYSIS_STORE, which is not set'}"
    raise AddressError(msg)


def local_store() -> LocalStore:
    """The store on this machine: ``$ANALYSIS_STORE``.

    Raises:
        ParameterError: if it is not set, or no path that can be used.
    """
    return _local(os.environ.get("ANALYSIS_STORE"))


@functools.lru_cache(maxsize=1)
def _local(variable: str | None) -> LocalStore:
    if not variable:
        msg = "ANALYSIS_STORE is not set: source setup.sh first"
        raise ParameterError(msg)
    if "$" in variable:  # law would take it for the name of a variable
        msg = f"ANALYSIS_STORE is {variable!r}: choose a place without $ in its path"
        raise ParameterError(msg)
    return LocalStore(Path(variable).absolute())


def _store(choice: settings.Choice) -> Store:
    name = choice.section
    if choice.kind == "local":
        return _other_local(name, settings.local_settings(name)) if name else local_store()
    options = settings.remote_settings(name)
    remote = _remote(name, options, options.retries())
    if choice.kind == "wlcg":
        return remote
    if options.mirror is None:
        raise settings.no_mirror(name)
    return _mirrored(remote, options.mirror)


# the keys are settings: a configuration that changes, as in tests, makes other objects


@functools.lru_cache(maxsize=64)
def _other_local(name: str, options: settings.LocalSettings) -> LocalStore:
    return LocalStore(options.base or Path(), name, options.qos)


@functools.lru_cache(maxsize=64)
def _remote(name: str, options: RemoteSettings, patience: Patience) -> RemoteStore:
    from analysis.engine.storage.endpoints import Endpoint, Endpoints
    from analysis.engine.storage.remote import RemoteStore

    endpoints = [
        Endpoint(base, functools.partial(_interface, urlsplit(base).scheme, options.interface, options.timeout))
        for base in options.base
    ]
    cache = None
    if options.cache_root is not None:
        from analysis.engine.storage.cache import Cache

        cache = Cache(options.cache_root, options.cache_max_size)
    return RemoteStore(
        name, Endpoints(name, endpoints, patience), options.qos, options.checksum, options.connections, cache
    )


@functools.lru_cache(maxsize=64)
def _mirrored(remote: RemoteStore, mirror: Path) -> MirroredStore:
    from analysis.engine.storage.mirrored import MirroredStore

    return MirroredStore(remote, mirror)


def _interface(scheme: str, choice: str, timeout: int) -> Interface:
    from analysis.engine.storage.interfaces import interface_for

    return interface_for(scheme, choice, timeout)
