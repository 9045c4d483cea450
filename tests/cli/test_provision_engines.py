"""`holdfast provision` on each engine, as somebody at a terminal uses it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from holdfast.cli import main

Url = Callable[[pytest.FixtureRequest], str]


def _with_option(fixture: str, option: str) -> Url:
    def url(request: pytest.FixtureRequest) -> str:
        found: str = request.getfixturevalue(fixture)
        return f"{found}{'&' if '?' in found else '?'}{option}_{secrets.token_hex(4)}"

    return url


def _with_name(fixture: str) -> Url:
    """The URL, whose last name is one that is not there yet."""

    def url(request: pytest.FixtureRequest) -> str:
        parts = urlsplit(request.getfixturevalue(fixture))
        name = f"t{secrets.token_hex(4)}"
        if parts.path.strip("/"):
            return parts._replace(path=f"{parts.path.rpartition('/')[0]}/{name}").geturl()
        return parts._replace(netloc=name).geturl()

    return url


def _firestore(request: pytest.FixtureRequest) -> str:
    server = request.getfixturevalue("firestore_server")
    return f"firestore://holdfast-test/t{secrets.token_hex(4)}?emulator={server.address}"


ENGINES: dict[str, tuple[Url, tuple[str, ...]]] = {
    "dynamodb": (_with_name("moto_url"), ("cloudformation", "terraform")),
    "cosmos": (_with_name("cosmos_url"), ("bicep", "terraform")),
    "firestore": (_firestore, ("gcloud", "terraform")),
    "postgresql": (_with_option("postgres_url", "table=t"), ("sql",)),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_checked_made_and_there(
    engine: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing by --check, which makes nothing; made once; and there from then on."""
    url = ENGINES[engine][0](request)
    for _ in range(2):
        assert main(["provision", "--check", url]) == 1
        assert "\n  missing  " in capsys.readouterr().out
    status = main(["provision", url])
    made = capsys.readouterr().out
    assert "\n  made     " in made
    assert "\n  missing  " not in made
    assert status == (1 if "\n  wrong    " in made else 0), made
    assert main(["provision", "--check", url]) == status
    there = capsys.readouterr().out
    assert "\n  there    " in there
    assert "made" not in there
    assert "missing" not in there


def test_redis_is_only_checked(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is made in it. This one forgets when it ends, which is wrong for sessions."""
    for extra in ([], ["--check"]):
        assert main(["provision", redis_url, *extra]) == 1
        out = capsys.readouterr().out
        assert "  there    Redis" in out
        assert "  wrong    appendonly" in out
        assert "made" not in out


@pytest.mark.parametrize("engine", ENGINES)
def test_a_password_is_not_shown(
    engine: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the state is."""
    url = ENGINES[engine][0](request)
    main(["provision", "--check", url])
    out, err = capsys.readouterr()
    assert out or err
    assert "?" not in out.splitlines()[0]
    if password := urlsplit(url).password:
        assert f":{password}@" not in out + err


@pytest.mark.parametrize(
    ("url", "forms"),
    [
        ("dynamodb://sessions?region=eu-west-1", ENGINES["dynamodb"][1]),
        ("cosmos://shop/app/sessions", ENGINES["cosmos"][1]),
        ("firestore://shop/sessions", ENGINES["firestore"][1]),
        ("postgresql://db.example/app", ENGINES["postgresql"][1]),
    ],
)
def test_printing_takes_neither_network_nor_credentials(
    url: str,
    forms: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each form is there, another is refused with the names of those."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "FIRESTORE_EMULATOR_HOST", "COSMOS_KEY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)

    def connect(*_: object) -> None:
        raise AssertionError("something was connected")

    monkeypatch.setattr("socket.socket.connect", connect)
    for form in forms:
        assert main(["provision", url, "--print", form]) == 0
        assert len(capsys.readouterr().out.splitlines()) > 10
    assert main(["provision", url, "--print", "runes"]) == 2
    said = capsys.readouterr().err
    assert all(form in said for form in forms)
