from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.dsa import generate_private_key as generate_dsa_key
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256K1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tokens import ALGORITHMS, Issuer, base64url, claims, jwk, jwks, private_key, public_pem
from vrata.policy.jwt.key_set import MOST_ENTRIES, MOST_KEYS, InvalidKeySet, KeySet, Verdict, read_key_set
from vrata.policy.jwt.refusal import TokenRefused
from vrata.policy.jwt.token import read_token

RSA = Issuer("RS256")
EC = Issuer("ES256")


def verdict(keys: bytes, token: bytes) -> Verdict:
    return read_key_set(keys).verdict(read_token(token))


def signed_by(key_set: KeySet, token: bytes) -> bool:
    return key_set.verdict(read_token(token)) is Verdict.SIGNED


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    other = Issuer(algorithm, number=1)
    token = issuer.token()
    assert verdict(jwks(issuer.jwk), token) is Verdict.SIGNED
    assert verdict(jwks(jwk(issuer.key)), token) is Verdict.SIGNED
    assert verdict(public_pem(issuer.key), token) is Verdict.SIGNED
    assert verdict(jwks(issuer.jwk), other.token()) is Verdict.FORGED
    assert verdict(jwks(other.jwk, issuer.jwk), token) is Verdict.SIGNED
    assert verdict(public_pem(other.key), token) is Verdict.UNKNOWN_KEY


@pytest.mark.parametrize(("kind", "algorithm"), [("Ed25519", "Ed25519"), ("Ed448", "EdDSA"), ("Ed448", "Ed448")])
def test_edwards_curves_under_either_name(kind: str, algorithm: str) -> None:
    key = private_key(kind)
    content = json.dumps(claims()).encode()
    signed = base64url(b'{"alg":"%s"}' % algorithm.encode()) + b"." + base64url(content)
    token = signed + b"." + base64url(key.sign(signed))  # type: ignore[call-arg]
    assert verdict(jwks(jwk(key)), token) is Verdict.SIGNED
    assert verdict(public_pem(key), token) is Verdict.SIGNED
    other = "Ed448" if kind == "Ed25519" else "Ed25519"
    assert verdict(jwks(jwk(private_key(other))), token) is Verdict.UNKNOWN_KEY


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("said", ["none", "None", "", "HS256", "HS512", "RS1", "ES256K", *ALGORITHMS])
def test_the_algorithm_has_to_be_that_of_the_signature(algorithm: str, said: str) -> None:
    issuer = Issuer(algorithm)
    token = issuer.sign(json.dumps({"alg": said, "kid": "key-1"}).encode(), json.dumps(claims()).encode())
    assert (verdict(jwks(jwk(issuer.key)), token) is Verdict.SIGNED) == (algorithm == said)


@pytest.mark.parametrize("said", ["none", "HS256", "HS384", "HS512"])
@pytest.mark.parametrize("issuer", [RSA, EC, Issuer("EdDSA")], ids=lambda issuer: issuer.algorithm)
def test_a_public_key_is_no_secret_of_hmac(issuer: Issuer, said: str) -> None:
    signed = base64url(json.dumps({"alg": said}).encode()) + b"." + base64url(json.dumps(claims()).encode())
    public = issuer.key.public_key()
    forms = [
        public_pem(issuer.key),
        public_pem(issuer.key).strip(),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        json.dumps(issuer.jwk).encode(),
        b"",
    ]
    hash_ = "sha" + (said[2:] if said != "none" else "256")
    signatures = [hmac.new(form, signed, hash_).digest() for form in forms] + [b""]
    for signature in signatures:
        token = signed + b"." + base64url(signature)
        assert verdict(jwks(jwk(issuer.key)), token) is Verdict.UNKNOWN_KEY
        assert verdict(public_pem(issuer.key), token) is Verdict.UNKNOWN_KEY


def test_symmetric_keys_are_none() -> None:
    keys = read_key_set(jwks({"kty": "oct", "k": base64url(b"secret" * 8).decode(), "alg": "HS256", "kid": "key-1"}))
    assert keys.keys == ()
    assert keys.skipped == ('keys[0]: its "kty" is none of RSA, EC, OKP',)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA"])
@given(data=st.data())
def test_a_bit_that_differs(algorithm: str, data: st.DataObject) -> None:
    issuer = Issuer(algorithm)
    keys = read_key_set(jwks(issuer.jwk))
    token = bytearray(_token(algorithm))
    place = data.draw(st.integers(0, len(token) - 1))
    token[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read = read_token(bytes(token))
    except TokenRefused:
        return
    assert keys.verdict(read) is not Verdict.SIGNED


_tokens: dict[str, bytes] = {}


def _token(algorithm: str) -> bytes:
    return _tokens.setdefault(algorithm, Issuer(algorithm).token())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_signatures_of_another_length(algorithm: str) -> None:
    issuer = Issuer(algorithm)
    keys = read_key_set(jwks(issuer.jwk))
    signed, _, signature = issuer.token().rpartition(b".")
    whole = read_token(signed + b"." + signature).signature
    changed = [b"", whole[:1], whole[:-1], whole[1:], whole + b"\0", b"\0" + whole, whole * 2, bytes(len(whole))]
    for each in changed:
        assert not signed_by(keys, signed + b"." + base64url(each))
    assert signed_by(keys, signed + b"." + signature)


def test_a_signature_of_ecdsa_in_der_is_none() -> None:
    key = private_key("P-256")
    assert isinstance(key, EllipticCurvePrivateKey)
    signed = base64url(b'{"alg":"ES256"}') + b"." + base64url(b"{}")
    assert not signed_by(read_key_set(public_pem(key)), signed + b"." + base64url(key.sign(signed, ECDSA(SHA256()))))


@pytest.mark.parametrize(
    ("mask", "salt", "good"), [("sha256", 32, True), ("sha256", 20, False), ("sha256", 0, False), ("sha1", 32, False)]
)
def test_pss_with_another_salt_or_mask(mask: str, salt: int, good: bool) -> None:
    key = private_key("rsa")
    assert isinstance(key, RSAPrivateKey)
    signed = base64url(b'{"alg":"PS256"}') + b"." + base64url(b"{}")
    padding = PSS(MGF1(SHA1() if mask == "sha1" else SHA256()), salt)
    token = signed + b"." + base64url(key.sign(signed, padding, SHA256()))
    assert signed_by(read_key_set(public_pem(key)), token) is good


def test_a_kid_names_one_key() -> None:
    first, second = Issuer("ES256", kid="a"), Issuer("ES256", kid="b", number=1)
    keys = jwks(first.jwk, second.jwk)
    assert verdict(keys, first.token()) is Verdict.SIGNED
    assert verdict(keys, second.token()) is Verdict.SIGNED
    # Signed by a key of the set, but not by the one that the token names.
    assert verdict(keys, Issuer("ES256", kid="b").token()) is Verdict.FORGED
    assert verdict(keys, Issuer("ES256", kid="c").token()) is Verdict.UNKNOWN_KEY
    assert verdict(keys, Issuer("ES256", kid="").token()) is Verdict.UNKNOWN_KEY
    assert verdict(keys, Issuer("ES256", kid=None).token()) is Verdict.SIGNED


def test_keys_without_a_name_are_tried() -> None:
    unnamed = jwk(EC.key)
    assert verdict(jwks(Issuer("ES256", number=1, kid="x").jwk, unnamed), EC.token()) is Verdict.SIGNED
    assert verdict(jwks(unnamed), Issuer("ES256", number=1).token()) is Verdict.UNKNOWN_KEY


def test_keys_that_share_a_name() -> None:
    keys = jwks(Issuer("ES256").jwk, Issuer("RS256").jwk, Issuer("ES256", number=1).jwk)
    assert verdict(keys, Issuer("RS256").token()) is Verdict.SIGNED
    assert verdict(keys, Issuer("ES256", number=1).token()) is Verdict.SIGNED
    assert verdict(keys, Issuer("EdDSA").token()) is Verdict.FORGED


def test_a_kid_may_be_any_text() -> None:
    for kid in ("../../etc/passwd", "' OR 1=1", "\u0000", "x" * 4000, "é"):
        issuer = Issuer("ES256", kid=kid)
        assert verdict(jwks(issuer.jwk), issuer.token()) is Verdict.SIGNED


def test_keys_that_a_token_brings_along_mean_nothing() -> None:
    own = Issuer("ES256", number=1, header={"jwk": jwk(private_key("P-256", 1)), "jku": "http://127.0.0.1/keys"})
    assert verdict(jwks(EC.jwk), own.token()) is Verdict.FORGED


@pytest.mark.parametrize("algorithm", ["RS384", "PS256"])
def test_the_algorithm_of_a_key_is_the_only_one(algorithm: str) -> None:
    limited = jwks(jwk(private_key("rsa"), alg="RS256", kid="key-1"))
    assert verdict(limited, Issuer("RS256").token()) is Verdict.SIGNED
    assert verdict(limited, Issuer(algorithm).token()) is Verdict.FORGED


def _private_pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


SMALL = generate_rsa_key(65537, 1024)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (1, "it is no object"),
        ({}, 'its "kty" is none of RSA, EC, OKP'),
        ({"kty": ["RSA"]}, 'its "kty" is none of RSA, EC, OKP'),
        (jwk(RSA.key, use="enc"), 'its "use" is not "sig"'),
        (jwk(RSA.key, key_ops=["encrypt"]), 'its "key_ops" do not name "verify"'),
        (jwk(RSA.key, key_ops="verify"), 'its "key_ops" do not name "verify"'),
        (jwk(RSA.key, kid=5), 'its "kid" is no string'),
        (jwk(RSA.key, alg=5), 'its "alg" is no string'),
        (jwk(RSA.key, alg="RSA-OAEP"), 'its "alg" is none of PS256, PS384, PS512, RS256, RS384, RS512'),
        (jwk(RSA.key, alg="ES256"), 'its "alg" is none of PS256, PS384, PS512, RS256, RS384, RS512'),
        (jwk(RSA.key, alg="HS256"), 'its "alg" is none of PS256, PS384, PS512, RS256, RS384, RS512'),
        (jwk(EC.key, alg="ES384"), 'its "alg" is none of ES256'),
        (jwk(Issuer("EdDSA").key, alg="Ed448"), 'its "alg" is none of Ed25519, EdDSA'),
        (jwk(RSA.key, n=None), 'its "n" is no base64url'),
        (jwk(RSA.key, n=""), 'its "n" is no base64url'),
        (jwk(RSA.key, n="é"), 'its "n" is no base64url'),
        (jwk(RSA.key, e="AQ=="), 'its "e" is no base64url'),
        (jwk(RSA.key, e="AQ"), "it is no key: "),
        (jwk(RSA.key, e="Ag"), "it is no key: "),
        (jwk(RSA.key, e=base64url(b"\x01" + bytes(7) + b"\x01").decode()), "the exponent of an RSA key has at most"),
        (jwk(RSA.key, n=base64url(b"\xff" * 1100).decode()), "an RSA key of 8800 bits is too large: 8192 at most"),
        (jwk(SMALL), "an RSA key of 1024 bits is too small: 2048 at least"),
        (jwk(EC.key, crv="P-384"), "its coordinates are not of 48 bytes each"),
        (jwk(EC.key, crv="secp256k1"), 'its "crv" is none of P-256, P-384, P-521'),
        (jwk(EC.key, crv=None), 'its "crv" is none of P-256, P-384, P-521'),
        (jwk(EC.key, x=base64url(bytes(32)).decode()), "it is no key: "),
        (jwk(EC.key, y=base64url(bytes(31)).decode()), "its coordinates are not of 32 bytes each"),
        (jwk(Issuer("EdDSA").key, crv="X25519"), 'its "crv" is none of Ed25519, Ed448'),
        (jwk(Issuer("EdDSA").key, x="AAAA"), "it is no key: "),
    ],
)
def test_keys_that_are_left_out(entry: Any, reason: str) -> None:
    keys = read_key_set(jwks(entry, EC.jwk))
    assert len(keys.keys) == 1
    (skipped,) = keys.skipped
    assert skipped.startswith(f"keys[0]: {reason}")
    assert signed_by(keys, EC.token())


def test_members_that_allow_verifying_and_others() -> None:
    assert signed_by(read_key_set(jwks(jwk(EC.key, key_ops=["sign", "verify"], x5t="a", use="sig"))), EC.token())


def test_there_is_a_most_of_keys() -> None:
    keys = read_key_set(jwks(*[EC.jwk] * (MOST_KEYS + 5)))
    assert len(keys.keys) == MOST_KEYS
    assert keys.skipped == (f"keys[{MOST_KEYS}] and after: more than {MOST_KEYS} keys",)
    keys = read_key_set(b'{"keys":[%s]}' % b",".join([b"0"] * (MOST_ENTRIES + 5)))
    assert len(keys.skipped) == MOST_ENTRIES + 1
    assert keys.skipped[-1] == f"keys[{MOST_ENTRIES}] and after: more than {MOST_ENTRIES} entries"


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (generate_private_key(SECP256K1()), "the curve secp256k1 is none"),
        (SMALL, "an RSA key of 1024 bits is too small"),
        (generate_dsa_key(1024), "it is neither"),
        (X25519PrivateKey.generate(), "it is neither"),
    ],
)
def test_keys_in_pem_that_are_left_out(key: Any, reason: str) -> None:
    keys = read_key_set(public_pem(key))
    assert keys.keys == ()
    assert keys.skipped[0].startswith(reason)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no key",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[',
        b"\xff\xfe",
        b"<html></html>",
        _private_pem(EC.key),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        public_pem(EC.key)[:60],
    ],
)
def test_texts_that_are_no_key_sets(text: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        read_key_set(text)


def test_an_empty_set_knows_nobody() -> None:
    keys = read_key_set(b'{"keys":[]}')
    assert (keys.keys, keys.skipped) == ((), ())
    assert keys.verdict(read_token(EC.token())) is Verdict.UNKNOWN_KEY


def test_pem_may_have_space_around() -> None:
    assert signed_by(read_key_set(b"\n  " + public_pem(EC.key) + b"\n\n"), EC.token())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["kty", "crv", "x", "n"]), inner),
        max_leaves=8,
    )
)
def test_whatever_a_key_set_says(entry: Any) -> None:
    assert read_key_set(jwks(entry, EC.jwk)).keys[-1].kid == "key-1"


@given(st.binary(max_size=64))
def test_whatever_a_key_set_is(text: bytes) -> None:
    try:
        keys = read_key_set(text)
    except InvalidKeySet:
        return
    assert keys.keys == ()


def test_the_same_digest_is_no_signature() -> None:
    signed = EC.token().rpartition(b".")[0]
    digest = hashlib.sha256(signed).digest()
    assert not signed_by(read_key_set(jwks(EC.jwk)), signed + b"." + base64url(digest * 2))
