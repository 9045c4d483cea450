"""`holdfast keys`: make keys, and rotate the ones that all instances share."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from ..errors import ConfigError
from ..key import Key, key_of_secret
from ..keyring import Keyring
from ..keys import KeysChanged, KeySource, NoKeys, described, from_url
from ..settings import COOKIE_NAME, seconds

# Every place is looked at again within a minute, and readers keep a key set for five; the rest is for clocks that
# differ, and for instances that were asleep.
_WAIT = "10m"
_LIFETIME = "12h"
_CLOCKS_DIFFER_SECONDS = 60.0

_TRIES = 5

# What `holdfast keys new` prints, and a time or more keys after it: no file is called so.
_SECRET = re.compile(r"(?=.*[A-Z])[\w-]{43}(?:[@,\s].*)?", re.ASCII | re.DOTALL)

Lines = list[str]


def register(subparsers: Any) -> None:
    """Add `keys` and its own subcommands."""
    parser = subparsers.add_parser("keys", help="make and rotate the keys that protect what clients hold")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    new = actions.add_parser(
        "new",
        help="print a fresh key",
        description="Print a fresh key of 256 random bits, for HOLDFAST_KEYS: the same on every instance. To "
        "replace another, put it in front with a time beside it, KEY@2026-11-23T20:00:00Z, at which all "
        "instances will have it, and remove the other once no session is as old (absolute=, 12 hours).",
    )
    new.set_defaults(run=_new)

    add = _action(actions, "add", "add a fresh key, which opens tokens but makes none until later", _add)
    add.add_argument("--wait", default=_WAIT, help="until it makes tokens: all have it by then (%(default)s)")
    rotate = _action(actions, "rotate", "add a fresh key, and retire those that no session needs", _rotate)
    rotate.add_argument("--wait", default=_WAIT, help="until the new key makes tokens (%(default)s)")
    retire = _action(actions, "retire", "remove one key: what it has made opens nothing any more", _retire)
    retire.add_argument("key_id", metavar="ID", help="as `holdfast keys list` shows it")
    retire.add_argument("--leaked", action="store_true", help="even if sessions need it: they end")
    for action in (rotate, retire):
        action.add_argument(
            "--lifetime", default=_LIFETIME, help="how long a session may live: absolute= (%(default)s)"
        )
    _action(actions, "list", "show the keys' ids, and which one makes tokens; never the keys", _list)
    jwks = _action(actions, "export-jwks", "print the public keys of signed tokens (RFC 7517)", _export_jwks)
    jwks.add_argument("--algorithm", default="EdDSA", choices=["EdDSA", "ES256"])
    paserk = _action(
        actions, "export-paserk", "print the public keys of signed PASETO tokens (PASERK)", _export_paserk
    )
    for export in (jwks, paserk):
        export.add_argument(
            "--cookie-name", default=COOKIE_NAME, help="as in Sessions(cookie_name=) (%(default)s)"
        )
        export.add_argument("--insecure-http", action="store_true", help="as in Sessions(insecure_http=True)")
        export.add_argument(
            "--transport", default="cookie", choices=["cookie", "header"], help="as in Sessions(transport=)"
        )
        export.add_argument("--bearer", metavar="NAME", help="the name of a Bearer, for its access tokens")


def _action(
    actions: Any, name: str, text: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.add_argument(
        "keys", metavar="KEYS", help="where they are: a file, or a URL such as aws-secretsmanager://name"
    )
    parser.set_defaults(run=run)
    return parser


def _new(arguments: argparse.Namespace) -> int:
    print(Keyring.new_secret())
    return 0


def _add(arguments: argparse.Namespace) -> int:
    secret, wait = Keyring.new_secret(), seconds(arguments.wait, "--wait")
    print("added", _edit(arguments.keys, lambda lines: _with(secret, lines, wait))[0])
    return 0


def _rotate(arguments: argparse.Namespace) -> int:
    secret, wait = Keyring.new_secret(), seconds(arguments.wait, "--wait")
    lifetime = seconds(arguments.lifetime, "--lifetime")
    retired: list[Key] = []

    def turn(lines: Lines) -> Lines:
        retired[:] = unneeded = _unneeded(lines, lifetime)
        return _with(secret, [line for line in lines if key_of_secret(line) not in unneeded], wait)

    print("added", _edit(arguments.keys, turn)[0])
    for key in retired:
        print(f"retired {key.id.hex()}")
    return 0


def _retire(arguments: argparse.Namespace) -> int:
    lifetime = seconds(arguments.lifetime, "--lifetime")

    def drop(lines: Lines) -> Lines:
        kept = [line for line in lines if key_of_secret(line).id.hex() != arguments.key_id]
        if len(kept) == len(lines):
            raise ConfigError(f"there is no key {arguments.key_id}; see: holdfast keys list")
        now = time.time()
        if not any(key_of_secret(line).makes_from <= now for line in kept):
            raise ConfigError("no other key makes tokens yet: add one, and wait until it does")
        needed = [key_of_secret(line) for line in lines if key_of_secret(line).makes_from <= now]
        needed = [key for key in needed if key not in _unneeded(lines, lifetime)]
        if not arguments.leaked and arguments.key_id in [key.id.hex() for key in needed]:
            raise ConfigError(
                f"sessions may need the key {arguments.key_id}: wait until another has made tokens for "
                f"{arguments.lifetime}, or say --leaked to end them"
            )
        return kept

    _edit(arguments.keys, drop)
    print(f"retired {arguments.key_id}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    _, lines = _open(arguments.keys)
    ring = Keyring(lines)
    for key in ring.keys:
        use = "makes tokens" if key == ring.newest else "opens tokens"
        print(f"{_shown(key)}  {use}")
    return 0


def _export_jwks(arguments: argparse.Namespace) -> int:
    from ..jwks import jwks
    from ..tokens import Token

    _, lines = _open(arguments.keys)
    found = jwks(Keyring(lines), Token("jws", algorithm=arguments.algorithm), **_bound_to(arguments))
    print(json.dumps(json.loads(found), indent=2))
    return 0


def _export_paserk(arguments: argparse.Namespace) -> int:
    from ..jwks import paserk
    from ..tokens import Token

    _, lines = _open(arguments.keys)
    found = paserk(Keyring(lines), Token("paseto", algorithm="v4.public"), **_bound_to(arguments))
    print(json.dumps(json.loads(found), indent=2))
    return 0


def _bound_to(arguments: argparse.Namespace) -> dict[str, Any]:
    """What tokens are bound to besides the keys."""
    return {
        name: getattr(arguments, name) for name in ("cookie_name", "insecure_http", "transport", "bearer")
    }


def _at(place: str) -> KeySource:
    """The place of the keys. Raises `ConfigError`, which does not show a key that was given instead."""
    from ..keys.file import KeyFile

    if _SECRET.fullmatch(place):
        raise ConfigError(
            "that is a key, and not where keys are: name a file, or a URL such as env://HOLDFAST_KEYS"
        )
    return from_url(place) if "://" in place else KeyFile(place)


def _open(place: str) -> tuple[KeySource, Lines]:
    """The place of the keys, and what is there. Raises `ConfigError`."""
    try:
        source = _at(place)
        return source, source.read() or []
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(f"the keys cannot be read: {described(error)}") from error


def _edit(place: str, change: Callable[[Lines], Lines]) -> list[str]:
    """Keep what `change` makes of the keys there, of the newest if others write at the same time.

    Returns what is there now, to be shown. Raises `ConfigError`.
    """
    for _ in range(_TRIES):
        try:
            source, lines = _open(place)
        except NoKeys:
            source, lines = _at(place), []
        Keyring(changed := change(lines))  # what could not be read back is not written
        try:
            source.write(changed)
        except KeysChanged as error:
            print(f"holdfast: {error}", file=sys.stderr)
            continue
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"the keys cannot be written: {described(error)}") from error
        return [_shown(key_of_secret(line)) for line in changed]
    raise ConfigError(f"others change these keys all the time: nothing was done in {_TRIES} tries")


def _with(secret: str, lines: Lines, wait: float) -> Lines:
    """The lines with a fresh key in front, which makes tokens after that time, or at once if it is the first."""
    if not lines:
        return [secret]
    moment = datetime.fromtimestamp(int(time.time() + wait), UTC)
    return [f"{secret}@{_text(moment)}", *lines]


def _unneeded(lines: Lines, lifetime: float) -> list[Key]:
    """The keys whose successor has made tokens for longer than any session lives.

    A key without a time may have begun at any: nobody knows how long those after it are out of use.
    """
    limit = time.time() - lifetime - _CLOCKS_DIFFER_SECONDS
    keys = [key_of_secret(line) for line in lines]
    for place, key in enumerate(keys):
        if 0 < key.makes_from <= limit:
            return keys[place + 1 :]
    return []


def _shown(key: Key) -> str:
    if not key.makes_from:
        return key.id.hex()
    return f"{key.id.hex()} from {_text(datetime.fromtimestamp(key.makes_from, UTC))}"


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
