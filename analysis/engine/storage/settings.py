"""What ``law.cfg`` says about where outputs live."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from analysis.engine.backends.resources import parse_size, parse_time
from analysis.engine.errors import ParameterError
from analysis.engine.storage.addresses import NAME
from analysis.engine.storage.retry import Patience

if TYPE_CHECKING:
    from analysis.engine.storage.resolved import Resolved

Kind = Literal["local", "wlcg", "wlcg_mirrored"]
InterfaceChoice = Literal["auto", "gfal2", "xrootd", "fsspec"]
ChecksumPolicy = Literal["auto", "require", "off"]
S = TypeVar("S")

OUTPUTS = "outputs"
"""The section that names the stores of task families."""

_DOUBLE_SLASH = {"root", "roots", "xroot", "xroots"}
_SCHEMES = {*_DOUBLE_SLASH, "http", "https", "dav", "davs", "srm", "gsiftp", "s3", "file"}
RESERVED = {"local", "local_fs", "disk"}  # that of $ANALYSIS_STORE; that of all local targets of law; that of no store
_EXPANDED = re.compile(r"[$~&%\\]")  # variables, homes, values of other options
_PATTERN = re.compile(r"[*?\[]")
_taken: Resolved | None = None


class Choice(NamedTuple):
    """Where the outputs of a task family live.

    Args:
        kind: what the store is.
        section: section that describes it; empty for ``local`` in ``$ANALYSIS_STORE``.
    """

    kind: Kind
    section: str


@dataclass(frozen=True)
class LocalSettings:
    """Section of a store on this machine.

    Args:
        base: its directory.
        qos: label of its quality of service, e.g. ``FAST``.
    """

    base: Path | None = None
    qos: str = ""


@dataclass(frozen=True)
class RemoteSettings:
    """Section of a store on servers. Names and defaults are law's where they mean the same.

    Args:
        base: URLs of its root: several are endpoints of one storage, each of which shows all files.
        interface: client library; ``auto`` takes the best that is there.
        timeout: after which one request counts as failed, if nothing happens [s].
        patience: how long a request is tried again if the server does not answer [s].
        job_patience: the same in batch jobs [s]; nobody waits for them, and what they computed would be lost.
        retry_delay: longest pause before the first repetition [s]; it doubles up to a minute.
        connections: most requests at the same time, by one process.
        checksum: ``auto`` asks the server for checksums of what it got, and compares sizes if it has none;
            ``require`` fails then; ``off`` compares sizes only.
        qos: label of its quality of service, e.g. ``CHEAP-ANALYSIS``.
        mirror: directory that gets a copy of all that is written, if a task family asks for ``wlcg_mirrored``.
        cache_root: directory of local copies of files that are read; empty for none.
        cache_max_size: of all these copies [bytes].
    """

    base: tuple[str, ...] = ()
    interface: InterfaceChoice = "auto"
    timeout: int = 30
    patience: int = 120
    job_patience: int = 600
    retry_delay: int = 5
    connections: int = 16
    checksum: ChecksumPolicy = "auto"
    qos: str = ""
    mirror: Path | None = None
    cache_root: Path | None = None
    cache_max_size: int = 0

    def retries(self, environment: Mapping[str, str] = os.environ) -> Patience:
        """How long this process is patient.

        Args:
            environment: its variables, which tell a batch job.
        """
        is_job = bool(environment.get("ANALYSIS_JOB_BACKEND"))
        return Patience(float(self.job_patience if is_job else self.patience), float(self.retry_delay))


def choice_for(family: str) -> Choice:
    """Where the outputs of a task family live: its name in section ``outputs``, else the longest pattern, else default.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    values: Mapping[str, Choice | str] = _items(OUTPUTS) if _taken is None else _taken.outputs
    patterns = [name for name in values if _PATTERN.search(name) and fnmatch.fnmatchcase(family, name)]
    named = [name for name in values if name in (family, "default")]
    for name in (*(n for n in named if n == family), *sorted(patterns, key=len, reverse=True), *named):
        return _choice(name, values[name])
    return Choice("local", "")


def outputs() -> dict[str, Choice]:
    """Section ``outputs``: where outputs live, by names and patterns of task families.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    values: Mapping[str, Choice | str] = _items(OUTPUTS) if _taken is None else _taken.outputs
    return {name: _choice(name, value) for name, value in values.items()}


def choices() -> list[Choice]:
    """All that section ``outputs`` names, each once, and ``local``.

    Raises:
        ParameterError: if the configuration makes no sense.
    """
    return list(dict.fromkeys([*outputs().values(), Choice("local", "")]))


def take(resolved: Resolved) -> None:
    """Have all stores be what another process has read, whatever the configuration says here."""
    global _taken  # noqa: PLW0603
    _taken = resolved


def check() -> None:
    """Look whether all that section ``outputs`` names makes sense, be it used or not.

    Raises:
        ParameterError: if it does not.
    """
    for choice in choices():
        if choice.kind == "local":
            local_settings(choice.section)
        elif remote_settings(choice.section).mirror is None and choice.kind == "wlcg_mirrored":
            raise no_mirror(choice.section)


def no_mirror(section: str) -> ParameterError:
    """The error of a mirrored store without a mirror."""
    return _error(section, "mirror", "", "[outputs] asks for wlcg_mirrored: name a directory, e.g. $ANALYSIS_STORE")


def local_settings(section: str) -> LocalSettings:
    """A section of a store on this machine; empty for ``$ANALYSIS_STORE``.

    Raises:
        ParameterError: for an option that does not exist, or a value that makes no sense.
    """
    if not section:
        return LocalSettings()
    if _taken is not None and section in _taken.local:
        return _taken.local[section]
    settings = _section(section, LocalSettings, {"base": _path, "qos": _label})
    if settings.base is None:
        raise _error(section, "base", "", "name the directory of this store")
    return settings


def remote_settings(section: str) -> RemoteSettings:
    """A section of a store on servers.

    Raises:
        ParameterError: for an option that does not exist, or a value that makes no sense.
    """
    if _taken is not None and section in _taken.remote:
        return _taken.remote[section]
    parsers: dict[str, Callable[[str], Any]] = {
        "base": _urls,
        "interface": _one_of(InterfaceChoice),
        "checksum": _one_of(ChecksumPolicy),
        "connections": _count,
        "qos": _label,
        "cache_max_size": parse_size,
    }
    parsers |= dict.fromkeys(("mirror", "cache_root"), _path)
    parsers |= dict.fromkeys(("patience", "job_patience"), parse_time)
    parsers |= dict.fromkeys(("timeout", "retry_delay"), _positive_time)
    settings = _section(section, RemoteSettings, parsers)
    if not settings.base:
        raise _error(section, "base", "", "name the URL of the store, e.g. root://host//store/user")
    if settings.cache_root and not settings.cache_max_size:
        raise _error(section, "cache_max_size", "0", "cache_root is set: say how large the cache may be, e.g. 50GB")
    return settings


def is_store(section: str) -> bool:
    """Whether a section is that of a store: it has a base."""
    if _taken is not None and (section in _taken.local or section in _taken.remote):
        return True
    return bool(_items(section).get("base"))


def normalized(url: str) -> str:
    """A URL as all others of that store are made from it: no slash at the end, and two after a host of XRootD.

    Raises:
        ParameterError: if it cannot be the URL of a store.

    Examples:
        >>> normalized("root://host/store/me/")
        'root://host//store/me'
        >>> normalized("https://host:1095//store")
        'https://host:1095/store'
    """
    scheme, colon, rest = url.partition("://")
    split = urlsplit(url) if colon else None
    scheme = scheme.lower()
    if split is None or scheme not in _SCHEMES:
        msg = f"{_masked(url)!r} is not the URL of a store: it starts with one of {', '.join(sorted(_SCHEMES))} and ://"
        raise ParameterError(msg)
    if split.password is not None or "?" in rest or "#" in rest:
        msg = f"{_masked(url)!r} has more than a host and a path: leave out credentials and all from ? or # on"
        raise ParameterError(msg)
    host, _, path = rest.partition("/")
    if bool(host) == (scheme == "file"):
        msg = f"{url!r} needs a host after ://" if scheme != "file" else f"{url!r} is no file:///DIRECTORY"
        raise ParameterError(msg)
    parts = [part for part in path.split("/") if part]
    if any(part in (".", "..") for part in parts) or not parts:
        msg = f"{url!r} needs a path without . and .., which is the root of the store"
        raise ParameterError(msg)
    return f"{scheme}://{host}{'//' if scheme in _DOUBLE_SLASH else '/'}{'/'.join(parts)}"


def _masked(url: str) -> str:
    """A URL without what may be a secret."""
    return re.sub(r"//[^/@]*@", "//...@", re.sub(r"[?#].*", "?...", url))


def _choice(name: str, value: Choice | str) -> Choice:
    if isinstance(value, Choice):
        return value
    kind, comma, section = (part.strip() for part in value.partition(","))
    if kind not in get_args(Kind):
        raise _error(OUTPUTS, name, value, f"write one of {', '.join(get_args(Kind))}, and the section of the store")
    if kind != "local" and not section:
        raise _error(OUTPUTS, name, value, f"name the section of the store as well, e.g. {kind}, wlcg_fs")
    if comma and not NAME.fullmatch(section):
        raise _error(OUTPUTS, name, value, f"{section!r} is no name of a section: take letters, digits, _ and -")
    if section in RESERVED:
        raise _error(OUTPUTS, name, value, f"the section {section} is for something else: give yours another name")
    if section and not is_store(section):
        raise _error(OUTPUTS, name, value, f"there is no section {section} with an option base: add it")
    return Choice(kind, section)  # type: ignore[arg-type]


def _items(section: str) -> dict[str, str]:
    """Options and values of a section; a tenth of the time of ``law.config.items``, for it is asked for each branch."""
    import law

    if not law.config.has_section(section):
        return {}
    found = {}
    for option in law.config.options(section, expand_vars=False, expand_user=False):
        value = law.config.get(section, option, raw=True)
        text = str("" if value is None else value)
        if _EXPANDED.search(text):
            text = str(law.config.get_expanded(section, option))
        found[option] = text.strip()
    return found


def _section(section: str, kind: type[S], parsers: Mapping[str, Callable[[str], Any]]) -> S:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    defaults = _items("_wlcg_fs_defaults")  # law puts them into the section wlcg_fs by itself
    given: dict[str, Any] = {}
    for option, value in _items(section).items():
        if option in known:
            if not value:
                continue
            try:
                given[option] = parsers[option](value)
            except (ParameterError, ValueError) as error:
                raise _error(section, option, None, str(error)) from error
        elif value != defaults.get(option):
            advice = "law's, and means nothing here" if option in defaults else "no option of a store"
            raise _error(section, option, None, f"it is {advice}: remove it; there are {', '.join(sorted(known))}")
    return kind(**given)


def _error(section: str, option: str, value: str | None, what: str) -> ParameterError:
    shown = "" if value is None else f"{value!r}: " if value else "it is empty: "
    return ParameterError(f"law.cfg or the profile, section {section}, {option}: {shown}{what}")


def _urls(text: str) -> tuple[str, ...]:
    from law.util import brace_expand

    _check_variables(text)
    listed = [url for item in brace_expand(text, split_csv=True) for url in item.split()]
    return tuple(dict.fromkeys(normalized(url) for url in listed))


def _path(text: str) -> Path:
    _check_variables(text)
    path = Path(text)
    if not path.is_absolute():
        msg = f"{text!r} is not absolute: jobs run in another directory; begin it with / or $ANALYSIS_BASE"
        raise ParameterError(msg)
    return path


def _check_variables(text: str) -> None:
    if match := re.search(r"\$\{?(\w*)", text):
        msg = f"{text!r}: the variable {match[1]} is not set: export it, or write the value here"
        raise ParameterError(msg)


def _label(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text):
        msg = f"{text!r} is no label: take letters, digits, _, - and ."
        raise ParameterError(msg)
    return text


def _positive_time(text: str) -> int:
    seconds = parse_time(text)
    if seconds < 1:
        msg = f"{text!r} is less than one second"
        raise ParameterError(msg)
    return seconds


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        msg = f"{text!r} is not a number from 1 to 256"
        raise ParameterError(msg)
    return int(text)


def _one_of(choices: Any) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in get_args(choices):
            msg = f"{text!r} is not one of {', '.join(get_args(choices))}"
            raise ParameterError(msg)
        return text

    return parse
