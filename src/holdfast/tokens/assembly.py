"""Puts together what `Sessions(token=…)` is made of."""

from __future__ import annotations

from collections.abc import Callable

from ..commits import Regression
from ..cookies import Cookies
from ..errors import ConfigError
from ..events import Events
from ..keyring import Keyring
from ..stores import Store, from_url
from ..stores.guard import Guard
from ..timeouts import Timeouts
from . import Token, Transport
from .backing import Backing
from .carriers import Carrier, InAuthorization, InHeader
from .chunks import TokenCookies
from .claims import LEEWAY_SECONDS
from .engine import TokenEngine
from .held import Held
from .revocation import Revocations, about
from .sealing import Sealing


def refuse_beside(token: object, *, private: object, revoke_within: object, **others: object) -> None:
    """Raise `ConfigError` for what is no token, and for settings that say nothing to one: none is silently ignored."""
    if not isinstance(token, Token):
        raise ConfigError(f'token={token!r}: write token=Token(), or Token("jws", …)')
    if private:
        raise ConfigError("private= beside a token is said where the rest of it is: Token(private=, spill=)")
    if revoke_within is not None:
        raise ConfigError(
            "revoke_within= beside a token is said where the rest of it is: Token(revocation=, revoke_within=)"
        )
    if given := [name for name, value in others.items() if value]:
        raise ConfigError(
            f"{', '.join(f'{name}=' for name in given)}: token= keeps sessions with their clients alone, and reads no "
            "store and no copies: for a store with copies at the clients leave token= out and set snapshot="
        )


def token_engine(
    token: Token,
    keyring: Keyring,
    cookies: Cookies,
    *,
    transport: Transport,
    name: str,
    detect_loss: bool | None,
    regression: Regression,
    timeouts: Timeouts,
    clock: Callable[[], float],
    events: Events,
) -> TokenEngine:
    """The engine for sessions that travel. Raises `ConfigError`."""
    carrier: Carrier
    if transport == "bearer":
        if token.private or token.spill is not None:
            raise ConfigError(
                "access tokens are made by a Bearer, in whose store the rest is: no private=, no spill="
            )
        carrier, purpose = InAuthorization(), f"bearer {name}"
    elif transport == "header":
        carrier, purpose = InHeader(), f"header {name}"
    else:
        carrier, purpose = TokenCookies(cookies), cookies.name
    spill = _guarded(token.spill) if token.spill is not None else None
    notes = spill if token.revocation == token.spill else None
    if notes is None and token.revocation is not None:
        notes = _guarded(token.revocation)
    revocations = None
    if notes is not None and token.revocation is not None:
        # Tokens of instances whose clocks are further ahead are refused. Access tokens begin by a Bearer's clock.
        skew = 0.0 if transport == "bearer" else LEEWAY_SECONDS
        revocations = Revocations(
            notes,
            tokens=about(token, purpose),
            within=token.revoke_within,
            longest_life=timeouts.absolute,
            skew=skew,
            clock=clock,
        )
    marked = spill or notes
    detects = _detects(detect_loss, regression, marked is not None, is_bearer=transport == "bearer")
    if not detects:
        marked = spill
    return TokenEngine(
        token,
        sealing=Sealing(token, keyring, purpose),
        carrier=carrier,
        backing=Backing(Held(marked, _told(events)) if marked is not None else None, revocations),
        detects=detects,
        regression=regression,
        timeouts=timeouts,
        clock=clock,
        events=events,
        read_only=transport == "bearer",
    )


def _detects(detect_loss: bool | None, regression: Regression, has_store: bool, *, is_bearer: bool) -> bool:
    """Whether tabs that overwrite each other's changes are to be noticed. Raises `ConfigError`."""
    if detect_loss and is_bearer:
        raise ConfigError("detect_loss= is about changes, and sessions of a Bearer are changed there")
    if detect_loss and not has_store:
        raise ConfigError(
            "detect_loss= beside token= takes a store that remembers each change: Token(spill=…) or "
            "Token(revocation=…)"
        )
    detects = has_store and not is_bearer and detect_loss is not False
    if regression == "end" and not detects:
        raise ConfigError(
            'regression="end" beside token= takes a store in which losses are detected: Token(spill=…) or '
            "Token(revocation=…), and not detect_loss=False"
        )
    return detects


def _told(events: Events) -> Callable[[str], None]:
    def tell(handle: str) -> None:
        events.tell(
            "regression",
            handle,
            detail="what the server had of the session is gone; it goes on from its token",
        )

    return tell


def _guarded(named: str | Store) -> Guard:
    store = from_url(named) if isinstance(named, str) else named
    if getattr(store, "forgets", False):
        raise ConfigError(
            f"{type(store).__name__} forgets what it is told when it runs full or restarts, and with it who has signed "
            "out: name another store, or say in its URL that you accept that (?forgets=accepted)"
        )
    return Guard(store)
