"""What the URLs of stores have in common: options after the question mark."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import Any

from ..errors import ConfigError


def options(
    url: str, known: Mapping[str, Callable[[str], Any]], repeatable: Collection[str] = ()
) -> dict[str, Any]:
    """The options of the URL, each read by the function that `known` has for it.

    An option that is `repeatable` becomes a list, even if it is written once.

    Raises `ConfigError` for an option that is unknown, written twice or cannot be read. The text never has
    the URL in it, for that may have a password in it.
    """
    from urllib.parse import parse_qsl, urlsplit  # as `from_url`

    found: dict[str, Any] = {}
    for name, text in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name not in known:
            shown = f"an unknown option {name}" if name.isidentifier() else "an unknown option"
            raise ConfigError(f"the store's URL has {shown}; known are {', '.join(known)}")
        if name in found and name not in repeatable:
            raise ConfigError(f"the store's URL has the option {name} twice")
        try:
            value = known[name](text)
            found[name] = [*found.get(name, ()), value] if name in repeatable else value
        except ConfigError:
            raise
        except ValueError:
            raise ConfigError(f"the store's URL says {name}={text!r}, which cannot be read") from None
    return found


def positive(number: float, name: str) -> float:
    """The number. Raises `ConfigError`, naming the option, unless it is finite and above zero."""
    if not (isinstance(number, int | float) and number > 0 and isfinite(number)):
        raise ConfigError(f"{name}={number!r}: write a number above zero")
    return number
