"""The clients that a `FirestoreStore` makes by itself: when they are used first, and for whom they are needed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import google.auth
import grpc
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient, FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import (
    FirestoreGrpcAsyncIOTransport,
    FirestoreGrpcTransport,
)

from .. import _colour
from ._firestore_url import Settings

# As Google's own client sets them, but gRPC would leave a server that comes back alone for up to two minutes.
_CHANNEL_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Otherwise channels of a process share connections: one that is made after a fork would be given the parent's.
    ("grpc.use_local_subchannel_pool", 1),
)

# Of the two that Firestore takes, the one that managing it takes too (`holdfast provision`).
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


class Api(NamedTuple):
    """A generated client, and the database that it is used for."""

    client: Any
    awaited: bool
    database: str
    metadata: Sequence[tuple[str, str]]


class Clients:
    """One client for sync callers, and one for each running event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = _Credentials()
        self._lock = threading.Lock()
        self._inherited: list[Any] = []
        self._blocking: Api | None = None
        self._loops = self._new_loops()
        self._pid = os.getpid()

    async def get(self, seconds: float) -> Api:
        """The client for the caller, who waits for credentials for so many seconds at most."""
        if self._pid != os.getpid():
            # Those of the parent must be neither used nor closed here: they are kept aside for good.
            self._inherited += self._blocking, self._loops
            self._blocking, self._loops, self._lock = None, self._new_loops(), threading.Lock()
            if not self._credentials.known:
                # What looks them up, if anything does, runs in the parent only.
                self._credentials = _Credentials()
            self._pid = os.getpid()
        if _colour.by_hand():
            if self._blocking is None:
                self._credentials.wait(seconds, self._settings)
                with self._lock:
                    self._blocking = self._blocking or self._make_blocking()
            return self._blocking
        if not self._credentials.known:
            await self._credentials.awaited(seconds, self._settings)
        return self._loops.get()

    async def aclose(self) -> None:
        """Close the running loop's client, if it is awaited, and the one for sync callers."""
        self.close()
        if not _colour.by_hand() and (api := self._loops.pop()) is not None:
            await api.client.transport.close()

    def close(self) -> None:
        """Close the client for sync callers."""
        api, self._blocking = self._blocking, None
        if api is not None and self._pid == os.getpid():
            api.client.transport.close()

    def _new_loops(self) -> _colour.PerLoop[Api]:
        # What is left of the client of a closed loop is gRPC's own, and goes when nobody refers to it.
        return _colour.PerLoop(self._make_awaited, lambda dead: None)

    def _make_blocking(self) -> Api:
        kind, emulator = FirestoreGrpcTransport, self._settings.emulator
        if emulator is not None:
            channel = grpc.insecure_channel(emulator, options=_CHANNEL_OPTIONS)
        else:
            channel = kind.create_channel(credentials=self._credentials.known, options=_CHANNEL_OPTIONS)
        return self._api(FirestoreClient(transport=kind(channel=channel)), awaited=False)

    def _make_awaited(self) -> Api:
        kind, emulator = FirestoreGrpcAsyncIOTransport, self._settings.emulator
        if emulator is not None:
            channel = grpc.aio.insecure_channel(emulator, options=_CHANNEL_OPTIONS)
        else:
            channel = kind.create_channel(credentials=self._credentials.known, options=_CHANNEL_OPTIONS)
        return self._api(FirestoreAsyncClient(transport=kind(channel=channel)), awaited=True)

    def _api(self, client: Any, *, awaited: bool) -> Api:
        metadata = [("google-cloud-resource-prefix", self._settings.path)]
        if self._settings.emulator is not None:
            metadata.append(("authorization", "Bearer owner"))
        return Api(client, awaited, self._settings.path, metadata)


class _Credentials:
    """Google's default credentials, looked up once, at the first use, in a thread of their own.

    The lookup may ask the network (the platform's metadata server), and that has no time limit that could be set.
    `known` are they, once they are found; an emulator takes those of nobody.
    """

    def __init__(self) -> None:
        self.known: Any = None
        self._lock = threading.Lock()
        self._lookup: Future[Any] | None = None

    def wait(self, seconds: float, settings: Settings) -> None:
        """Find them, for sync callers. Raises TimeoutError, or what google-auth raises."""
        self.known = self._found(settings).result(seconds)

    async def awaited(self, seconds: float, settings: Settings) -> None:
        """The same for async callers."""
        found = asyncio.wrap_future(self._found(settings))
        self.known = await asyncio.wait_for(asyncio.shield(found), seconds)

    def _found(self, settings: Settings) -> Future[Any]:
        with self._lock:
            found = self._lookup
            if found is None or (found.done() and found.exception() is not None):
                found = self._lookup = Future()
                if settings.emulator is not None:
                    found.set_result("nobody's")
                else:
                    threading.Thread(target=_look_up, args=(found,), daemon=True).start()
            return found


def _look_up(found: Future[Any]) -> None:
    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except BaseException as error:  # noqa: BLE001 - whoever waits for it raises it
        found.set_exception(error)
    else:
        found.set_result(credentials)
