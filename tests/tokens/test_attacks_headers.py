"""What a header could ask for, and does not get (RFC 8725; OWASP ASVS V9).

The tokens here are signed or sealed with our own keys wherever the attack is in the header: so it is the header that
they are refused for, and would be by whoever else shares the key.
"""

from __future__ import annotations

import hmac
import json
import tracemalloc
import zlib
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fuzz_targets import ISSUED, NOW, RING

from holdfast import BadToken
from holdfast.tokens import compact
from holdfast.tokens.ciphers import TAG_BYTES
from holdfast.tokens.compact import pack, unpack
from holdfast.tokens.jwe import Jwe
from holdfast.tokens.jws import Jws
from holdfast.tokens.paseto import Paseto

ABOUT: Any = {"issuer": "holdfast", "audience": "app"}
CLAIMS = {"iss": "holdfast", "aud": "app", "exp": NOW + 600, "nbf": int(NOW)}
HS256, EDDSA, ES256 = (Jws(RING, "p", algorithm=name, **ABOUT) for name in ("HS256", "EdDSA", "ES256"))  # type: ignore[arg-type]  # listed
JWE = Jwe(RING, "p", **ABOUT)


def header_of(token: bytes) -> dict[str, str]:
    found: dict[str, str] = json.loads(unpack(token.partition(b".")[0]))
    return found


def signed(header: object, maker: Jws = HS256, text: bytes | None = None) -> bytes:
    """A token with any header (an object, or bytes as they are), signed with the newest key of the format."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = pack(head) + b"." + pack(json.dumps(CLAIMS).encode() if text is None else text)
    return body + b"." + pack(maker._of(maker._keys.newest()[0]).signer.sign(body))


def sealed(header: object, text: bytes | None = None) -> bytes:
    """The same as a JWE."""
    head = pack(header if isinstance(header, bytes) else json.dumps(header).encode())
    nonce, key = bytes(12), JWE._ciphers.to_seal(NOW)
    body = key.cipher.encrypt(nonce, json.dumps(CLAIMS).encode() if text is None else text, head)
    return b"%b..%b.%b.%b" % (head, pack(nonce), pack(body[:-TAG_BYTES]), pack(body[-TAG_BYTES:]))


GOOD_JWS = {"alg": "HS256", "kid": RING.key_ids[0], "typ": "holdfast+jws"}
GOOD_JWE = {
    name: value for name, value in header_of(JWE.seal(CLAIMS, NOW)).items() if name != "cty"
}  # claims as JSON


def refused(maker: Any, token: bytes) -> str:
    """The reason; a token that is accepted, or any other exception, fails the test."""
    with pytest.raises(BadToken) as caught:
        maker.open(token, NOW)
    return caught.value.reason


def test_the_forger_of_these_tests_makes_good_tokens() -> None:
    """What is changed below is all that is wrong with them."""
    assert HS256.open(signed(GOOD_JWS), NOW) == CLAIMS
    assert JWE.open(sealed(GOOD_JWE), NOW) == CLAIMS


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256", "HS384", "RS256", "PS256"]
)
def test_rfc_8725_2_1_no_algorithm_but_the_applications_own(alg: str) -> None:
    """RFC 8725, 2.1 and 3.1; ASVS 9.1.2; CVE-2015-9235: neither `none`, nor another one, nor another spelling."""
    for maker in (HS256, EDDSA, ES256):
        for token in (
            signed(GOOD_JWS | {"alg": alg}, maker),
            signed(GOOD_JWS | {"alg": alg}, maker).rpartition(b".")[0] + b".",
        ):
            assert refused(maker, token) == "wrong algorithm"
    assert refused(JWE, sealed(GOOD_JWE | {"alg": alg})) == "wrong algorithm"


def test_an_unsigned_token_is_none() -> None:
    """RFC 8725, 2.1: an empty signature, or none, under the right algorithm."""
    for maker in (HS256, EDDSA, ES256):
        token = maker.seal(CLAIMS, NOW)
        body = token.rpartition(b".")[0]
        assert refused(maker, body + b".") == "bad signature"
        assert refused(maker, body) in ("malformed", "header not allowed", "bad signature")
        assert refused(maker, b"." + body) == "malformed"


def test_rfc_8725_2_1_the_public_key_is_no_secret() -> None:
    """RFC 8725, 2.1; CVE-2016-5431, CVE-2022-29217, CVE-2024-33663: HS256 keyed with the published public key, in
    each form that it is published in.
    """
    for maker in (EDDSA, ES256):
        jwk = maker.public_keys()[0]
        forms = [json.dumps(jwk).encode(), jwk["x"].encode(), unpack(jwk["x"].encode())]
        if "y" not in jwk:
            key = Ed25519PublicKey.from_public_bytes(unpack(jwk["x"].encode()))
            forms += [
                key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
                for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
            ]
        head = header_of(maker.seal(CLAIMS, NOW))
        for form in forms:
            for alg in ("HS256", head["alg"]):
                body = (
                    pack(json.dumps(head | {"alg": alg}).encode()) + b"." + pack(json.dumps(CLAIMS).encode())
                )
                forged = body + b"." + pack(hmac.digest(form, body, sha256))
                assert refused(maker, forged) == ("wrong algorithm" if alg == "HS256" else "bad signature")


def test_rfc_8725_3_1_one_key_has_one_algorithm() -> None:
    """RFC 8725, 3.1: no two formats, algorithms or kinds have a key in common, though one ring has made all."""
    pasetos = [Paseto(RING, "p", kind=kind, **ABOUT) for kind in ("local", "public")]  # type: ignore[arg-type]  # listed
    keys = [maker._keys.newest()[1] for maker in (HS256, EDDSA, ES256, *pasetos)]
    keys.append(JWE._ciphers._keys.newest()[1])
    assert len(set(keys)) == 6
    for maker in (HS256, EDDSA, ES256):
        for other in (HS256, EDDSA, ES256):
            if other is not maker:
                assert refused(maker, other.seal(CLAIMS, NOW)) == "wrong algorithm"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/etc/passwd",
        "keys/0",
        "' OR '1'='1",
        "' UNION SELECT 'known-secret' -- ",
        "|cat /etc/passwd",
        "\x00",
        "",
        "00000000",
        "0" * 300,
        "ABCDEF01",
        "１２３４５６７８",  # digits, but not ASCII's
        "9c33 5d9",
        "\ud800",
        "🔑🔑🔑🔑🔑🔑🔑🔑",
    ],
)
def test_rfc_8725_3_10_a_key_id_is_looked_up_and_nothing_else(kid: str) -> None:
    """RFC 8725, 3.10; ASVS 9.1.3; CVE-2018-0114: no path, no query, no file that is empty everywhere."""
    assert refused(HS256, signed(GOOD_JWS | {"kid": kid})) in ("unknown key", "malformed")
    empty = pack(json.dumps(GOOD_JWS | {"kid": kid}).encode()) + b"." + pack(json.dumps(CLAIMS).encode())
    assert refused(HS256, empty + b"." + pack(hmac.digest(b"", empty, sha256))) in (
        "unknown key",
        "malformed",
    )
    assert refused(JWE, sealed(GOOD_JWE | {"kid": kid})) in ("unknown key", "malformed")
    hour = GOOD_JWE["kid"].partition(".")[2]
    assert refused(JWE, sealed(GOOD_JWE | {"kid": f"{kid}.{hour}"})) in ("unknown key", "malformed")
    for kind in ("local", "public"):
        maker = Paseto(RING, "p", kind=kind, **ABOUT)  # type: ignore[arg-type]  # listed
        body, _, _ = maker.seal(CLAIMS, NOW).rpartition(b".")
        assert refused(maker, body + b"." + pack(json.dumps({"kid": kid}).encode())) in (
            "unknown key",
            "malformed",
        )


@pytest.mark.parametrize(
    "hour", ["0", "-1", "00", "0x7", "ffffffff", "fffffffff", "", "7a120.7a120", "7A120"]
)
def test_a_key_of_another_hour_opens_nothing(hour: str) -> None:
    """Of hours to come there is no key yet, and one that has gone by has not sealed this."""
    kid = f"{RING.key_ids[0]}.{hour}"
    assert refused(JWE, sealed(GOOD_JWE | {"kid": kid})) in ("unknown key", "bad mac")


OWN_KEY = {"kty": "oct", "k": pack(bytes(32)).decode()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("jku", "https://attacker.example/keys.json"),
        ("x5u", "https://attacker.example/chain.pem"),
        ("jwk", OWN_KEY),
        ("x5c", ["MIIB"]),
        ("x5t", "AAAA"),
        ("x5t#S256", "AAAA"),
        ("crit", ["exp"]),
        ("crit", ["b64"]),
        ("crit", []),
        ("b64", False),
        ("b64", "false"),
        ("zip", "DEF"),
        ("p2c", 2**31),
        ("p2s", "AAAA"),
        ("epk", OWN_KEY),
        ("apu", "AAAA"),
        ("iv", "AAAA"),
        ("tag", "AAAA"),
        ("url", "https://attacker.example/"),
        ("nonce", "AAAA"),
        ("ver", "1"),
        ("ALG", "none"),
        ("alg\x00", "none"),
    ],
)
def test_rfc_8725_3_10_a_header_brings_nothing_along(name: str, value: Any) -> None:
    """RFC 8725, 3.10; RFC 7515, 4.1.11; ASVS 9.1.3; CVE-2018-0114: no key, no address of one, no extension, no
    number of rounds (CVE-2022-36083) and no compression is taken from a token, nor is it ignored.
    """
    for maker in (HS256, EDDSA, ES256):
        head = header_of(maker.seal(CLAIMS, NOW)) | {name: value}
        assert refused(maker, signed(head, maker)) in ("header not allowed", "malformed")
    assert refused(JWE, sealed(GOOD_JWE | {name: value})) == "header not allowed"


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ["HS256"], {"alg": "HS256"}, 1.5])
@pytest.mark.parametrize("name", ["alg", "kid", "typ", "enc", "cty"])
def test_a_header_says_only_text(name: str, value: Any) -> None:
    """A list of algorithms is no algorithm, and null is not the same as nothing."""
    assert refused(HS256, signed(GOOD_JWS | {name: value})) == "header not allowed"
    assert refused(JWE, sealed(GOOD_JWE | {name: value})) == "header not allowed"


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_a_header_says_all_that_it_has_to(name: str) -> None:
    """RFC 8725, 3.11: without a type a token could pass for one of another kind."""
    assert refused(HS256, signed({k: v for k, v in GOOD_JWS.items() if k != name})) == "header not allowed"
    assert refused(JWE, sealed({k: v for k, v in GOOD_JWE.items() if k != name})) == "header not allowed"


def test_a_name_stands_once() -> None:
    """RFC 7515, 4 and RFC 8725, 2.6: of two members with one name two readers could take different ones."""
    good = json.dumps(GOOD_JWS).encode()
    for twice in (
        good[:-1] + b', "alg": "none"}',
        b'{"alg": "none", ' + good[1:],
        good[:-1] + b', "\\u0061lg": "HS256"}',
    ):
        assert refused(HS256, signed(twice)) == "malformed"
    text = json.dumps(CLAIMS).encode()
    for twice in (text[:-1] + b', "sub": "a", "sub": "b"}', text[:-1] + b', "exp": 9e9}'):
        assert refused(HS256, signed(GOOD_JWS, text=twice)) == "malformed"
        assert refused(JWE, sealed(GOOD_JWE, text=twice)) == "malformed"


@pytest.mark.parametrize(
    "typ", ["JWT", "at+jwt", "holdfast+jwe", "HOLDFAST+JWS", "application/holdfast+jws", ""]
)
def test_rfc_8725_3_11_a_token_of_another_kind_is_none(typ: str) -> None:
    """RFC 8725, 3.11 and 3.12; ASVS 9.2.2: the type is said, and is ours."""
    assert refused(HS256, signed(GOOD_JWS | {"typ": typ})) == "wrong type"
    assert (
        refused(
            JWE,
            sealed(
                GOOD_JWE | {"typ": typ or "x"} | ({"typ": "holdfast+jws"} if typ == "holdfast+jwe" else {})
            ),
        )
        == "wrong type"
    )


@pytest.mark.parametrize("cty", ["JWT", "jwt", "application/jwt", "JWE", "text/html", ""])
def test_rfc_8725_2_3_a_token_in_a_token_is_none(cty: str) -> None:
    """RFC 8725, 2.3 and 3.3: nothing is opened twice, whoever has sealed it."""
    inner = HS256.seal(CLAIMS, NOW)
    assert refused(HS256, signed(GOOD_JWS | {"cty": cty}, text=inner)) == "header not allowed"
    assert refused(JWE, sealed(GOOD_JWE | {"cty": cty}, text=inner)) == "header not allowed"
    assert refused(HS256, signed(GOOD_JWS, text=inner)) == "malformed"
    assert refused(JWE, sealed(GOOD_JWE, text=inner)) == "malformed"


def test_rfc_8725_3_6_nothing_is_decompressed() -> None:
    """RFC 8725, 2.4 and 3.6; CVE-2024-33664, CVE-2024-21319: of 100 MB in a few bytes, nothing unfolds."""
    bomb = zlib.compress(b"0" * 100_000_000, 9)[2:-4]
    tracemalloc.start()
    assert refused(JWE, sealed(GOOD_JWE | {"zip": "DEF"}, text=bomb)) == "header not allowed"
    assert refused(JWE, sealed(GOOD_JWE, text=bomb)) == "malformed"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * len(bomb)


def test_deep_and_odd_json_is_refused_without_harm() -> None:
    """Nesting that ends in a RecursionError, numbers of a million digits, what JSON does not know."""
    good = json.dumps(CLAIMS).encode()
    for text in (
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        *(
            good[:-1] + b', "name": ' + value + b"}"
            for value in (b"9" * 100_000, b"NaN", b"Infinity", b"-Infinity", b"01", b"'a'", b'"\n"')
        ),
        good.replace(str(CLAIMS["exp"]).encode(), b"1e999"),
        b"null",
        b"[]",
        b'"text"',
        b"",
        b"\xff\xfe",
        b"\xef\xbb\xbf" + good,
        good + b" {}",
        good.decode().encode("utf-16"),
    ):
        assert refused(JWE, sealed(GOOD_JWE, text=text)) == "malformed"
        assert refused(HS256, signed(GOOD_JWS, text=text)) == "malformed"
    for head in (b"[" * 300, b"{" * 300, b"null", b"[]", b'"alg"', b"", b"\xff", b"{}x"):
        assert refused(HS256, signed(head)) == "malformed"
        assert refused(JWE, sealed(head)) == "malformed"
    with pytest.raises(BadToken, match="malformed"):
        compact.read_header(pack(json.dumps(GOOD_JWS | {"kid": "0" * 10_000}).encode()))


def test_the_published_header_of_rfc_7520_5_6_is_none_of_ours() -> None:
    """`dir` with A128GCM is in the same RFC, and not on the list."""
    assert refused(JWE, sealed(GOOD_JWE | {"enc": "A128GCM"})) == "wrong algorithm"
    for enc in ("A256CBC-HS512", "A192GCM", "a256gcm", ""):
        assert refused(JWE, sealed(GOOD_JWE | {"enc": enc})) == "wrong algorithm"
    for alg in ("RSA1_5", "A256KW", "A256GCMKW", "PBES2-HS256+A128KW", "ECDH-ES", "DIR"):
        assert refused(JWE, sealed(GOOD_JWE | {"alg": alg})) == "wrong algorithm"


def test_a_wrapped_key_beside_dir_is_refused() -> None:
    """RFC 7518, 4.5: with `dir` the second part is empty."""
    head, _, rest = JWE.seal(CLAIMS, NOW).partition(b"..")
    assert refused(JWE, head + b"." + pack(bytes(32)) + b"." + rest) == "malformed"


@pytest.mark.parametrize(
    "head",
    [
        b"v1.local.",
        b"v2.local.",
        b"v3.local.",
        b"v4.public.",
        b"V4.local.",
        b"v4.Local.",
        b"v5.local.",
        b"v4.",
    ],
)
def test_paseto_has_one_version_and_purpose(head: bytes) -> None:
    """A token of another version or purpose is not even looked into, as PASETO has it."""
    body = ISSUED["paseto local"].removeprefix(b"v4.local.")
    maker = Paseto(RING, "session app", **ABOUT)
    assert maker.open(b"v4.local." + body, NOW)
    assert refused(maker, head + body) in ("wrong type", "malformed")


def test_a_paseto_footer_names_a_key_and_nothing_else() -> None:
    """It is bound to the token, but is read before that is known."""
    maker = Paseto(RING, "session app", **ABOUT)
    body = ISSUED["paseto local"].rpartition(b".")[0]
    kid = RING.key_ids[0]
    for footer in (
        b"",
        b"{}",
        b"null",
        b"[]",
        json.dumps([kid]).encode(),
        json.dumps({"kid": kid, "jku": "https://attacker.example/"}).encode(),
        json.dumps({"kid": kid, "wpk": "k4.local-wrap.pie.AAAA"}).encode(),
        f'{{"kid":"{kid}","kid":"{kid}"}}'.encode(),
        json.dumps({"kid": [kid]}).encode(),
        kid.encode(),
    ):
        assert refused(maker, body + b"." + pack(footer)) in ("header not allowed", "malformed")
    assert refused(maker, body + b"." + pack(b'{ "kid": "%b"}' % kid.encode())) == "bad mac"
    assert refused(maker, body + b"." + pack(b'{"kid":"%b"%b}' % (kid.encode(), b" " * 200))) == "malformed"
    assert refused(maker, body + b"." + pack(b"[" * 90)) == "malformed"
    assert refused(maker, body + b"." + b"A" * 1000) == "malformed"
