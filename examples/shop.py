"""A small shop. Run it, and open http://127.0.0.1:8000/ in a browser:

pip install holdfast starlette uvicorn
uvicorn examples.shop:app
"""

from __future__ import annotations

import html
import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from holdfast import Sessions
from holdfast.asgi import SessionMiddleware

# Browsers send Secure cookies over https, and to localhost in most cases; set this where they do not.
sessions = Sessions(insecure_http=bool(os.environ.get("SHOP_OVER_PLAIN_HTTP")))


async def show(request: Request) -> Response:
    """The cart. A visitor who only looks gets no session."""
    session = request.session
    visits = session.alter("visits", lambda n: n + 1, default=0) if "cart" in session else 0
    items = "".join(f"<li>{html.escape(item)}</li>" for item in session.get("cart", []))
    return HTMLResponse(
        f"""<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
        <title>Shop</title><h1>Hello {html.escape(session.owner or "stranger")}</h1>
        <p>You have looked at your cart {visits} times.</p><ul>{items or "<li>nothing yet</li>"}</ul>
        <form method="post" action="/add"><button name="item" value="tea">Add tea</button></form>
        <form method="post" action="/login"><button>Sign in</button></form>
        <form method="post" action="/logout"><button>Sign out</button></form>
        <form method="post" action="/logout-everywhere"><button>Sign out all other devices</button></form>"""
    )


async def add(request: Request) -> Response:
    """Two tabs that add at the same moment both find their tea in the cart."""
    request.session.alter("cart", lambda cart: [*cart, "tea"], default=[])
    return RedirectResponse("/", status_code=303)


async def login(request: Request) -> Response:
    """The cart comes along; the identity from before is dead."""
    request.session.login("user-42")
    return RedirectResponse("/", status_code=303)


async def logout(request: Request) -> Response:
    """Nothing brings the session back, on any instance."""
    request.session.logout()
    return RedirectResponse("/", status_code=303)


async def logout_everywhere(request: Request) -> Response:
    """End the user's sessions on all other devices."""
    if request.session.owner:
        await sessions.end_all(request.session.owner, but=request.session.handle)
    return RedirectResponse("/", status_code=303)


app = SessionMiddleware(
    Starlette(
        routes=[
            Route("/", show),
            Route("/add", add, methods=["POST"]),
            Route("/login", login, methods=["POST"]),
            Route("/logout", logout, methods=["POST"]),
            Route("/logout-everywhere", logout_everywhere, methods=["POST"]),
        ]
    ),
    sessions,
)
