"""Sessions without a store for reading: they travel in the browser, and a small store notes who has signed out.

pip install "holdfast[tokens]" starlette uvicorn
uvicorn examples.traveller:app
"""

from __future__ import annotations

import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast import Sessions
from holdfast.asgi import SessionMiddleware
from holdfast.tokens import Token

ENDINGS = os.environ.get("ENDINGS", "sqlite:///endings.db")

sessions = Sessions(
    token=Token(
        private={"oauth_*"},  # what another service has given us never leaves the server
        spill=ENDINGS,  # nor does what is too large for a browser
        revocation=ENDINGS,  # and a copied token is worthless after logout
        revoke_within="5s",
    )
)


async def home(request: Request) -> Response:
    """What the session holds, but for what is nobody's business."""
    shown = {name: value for name, value in request.session.items() if not name.startswith("oauth_")}
    return JSONResponse({"owner": request.session.owner, **shown})


async def sign_in(request: Request) -> Response:
    """As if an identity provider had sent the visitor back with a token."""
    request.session.login("user-42")
    request.session["oauth_token"] = "for the server's eyes only"
    return JSONResponse({"owner": request.session.owner})


async def remember(request: Request) -> Response:
    """Put a word into the session."""
    request.session.setdefault("words", []).append(request.path_params["word"])
    return JSONResponse(request.session["words"])


async def sign_out(request: Request) -> Response:
    """End the session, for every copy of its token."""
    request.session.logout()
    return JSONResponse({})


async def sign_out_others(request: Request) -> Response:
    """End all sessions of this user, and begin this one anew."""
    if (owner := request.session.owner) is not None:
        await sessions.end_all(owner)
        request.session.login(owner)
    return JSONResponse({"owner": owner})


routes = [
    Route("/", home),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/words/{word}", remember, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/sign-out-others", sign_out_others, methods=["POST"]),
]
app = SessionMiddleware(Starlette(routes=routes), sessions)
