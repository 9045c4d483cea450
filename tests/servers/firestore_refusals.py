"""What the Firestore for tests refuses a request with: gRPC's status codes, as Firestore documents them."""

from __future__ import annotations

import grpc


class Refusal(Exception):
    """A request is refused with a status code and a text."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def invalid(text: str) -> Refusal:
    """The request could never be carried out."""
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
