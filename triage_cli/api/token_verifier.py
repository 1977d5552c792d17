"""Tokens of an identity provider: JSON Web Tokens (RFC 7519) that are verified by the provider's published keys.

The keys are found by OpenID Connect Discovery, kept for an hour, and fetched anew at most once a minute for a token
that names an unknown one.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from triage_cli.api.auth import Caller
from triage_cli.api.server_log import error_log
from triage_cli.config import OidcSpec
from triage_cli.domain.api_keys import ROLES
from triage_cli.domain.errors import RefusedError, TriageError, UnauthenticatedError, UnavailableError
from triage_cli.domain.hostile_text.invisible import readable
from triage_cli.domain.json_paths import lookup
from triage_cli.runtime.network import Network, is_loopback, proxy_for
from triage_cli.runtime.unreachable import host_of, reason

# Algorithms of asymmetric keys alone, by the type of the key: with HS256 the public key would be the secret.
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
# Parts of a token's head by which it could name its own key, or ask for what is not done.
REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64", "zip", "enc"})
LEEWAY = 60.0  # seconds by which clocks may differ
LONGEST = 16_384  # characters of a token
KEPT = 3600.0  # seconds for which keys are kept
UNKNOWN = 60.0  # seconds between two fetches for an unknown key
FAILED = 10.0  # seconds after a failed fetch until the next one
TIMEOUT = 3.0  # seconds for connecting, and for each piece of an answer
DEADLINE = 5.0  # seconds for a whole answer
MOST = 1 << 18  # bytes of an answer
PATIENCE = 6.0  # seconds that a request waits for another one's fetch
# Requests that fetch keys or wait for that, each with a thread of the server: the other threads stay free for callers
# whose keys are known.
WAITING = 50


Record = Mapping[str, Any]
Fetch = Callable[[str], Any]


class TokenVerifier:
    """Returns the callers of tokens. `fetch` returns the JSON value at an address."""

    def __init__(self, spec: OidcSpec, fetch: Fetch) -> None:
        self._spec = spec
        self._keys = _KeySet(spec.issuer, fetch)

    def caller(self, token: str) -> Caller:
        """Return the caller of a token.

        Raises `UnauthenticatedError` for a token that proves nothing, `RefusedError` if it gives no role, and
        `UnavailableError` while the provider's keys cannot be had.
        """
        try:
            claims = self._claims(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _refused(error) from error
        return Caller(self._id(claims), self._name(claims), self._role(claims))

    def _claims(self, token: str) -> Record:
        if len(token) > LONGEST:
            raise jwt.InvalidTokenError
        head = jwt.get_unverified_header(token)
        algorithm, key_id = head.get("alg"), head.get("kid")
        if algorithm not in KEY_TYPES or REFUSED_HEADERS & head.keys():
            raise jwt.InvalidAlgorithmError
        key = self._keys.find(key_id, algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        claims: Record = jwt.decode(
            token, key.key, algorithms=[algorithm], audience=list(self._spec.audience), issuer=self._spec.issuer,
            leeway=LEEWAY, options={"require": ["exp", "iss", "aud", "sub"]},
        )  # fmt: skip
        return claims

    def _role(self, claims: Record) -> str:
        """Return the highest role that a token gives."""
        claim = self._spec.claim
        given = claims[claim] if claim in claims else lookup(claims, claim)
        theirs = given if isinstance(given, list) else [given]
        granted_roles = {
            self._spec.roles[each] for each in (*theirs, "*") if isinstance(each, str) and each in self._spec.roles
        }
        if not granted_roles:
            raise RefusedError("the token gives no role here", hint="server.oidc.roles in the config maps roles")
        return max(granted_roles, key=ROLES.index)

    def _name(self, claims: Record) -> str:
        """Return the actor of the audit log; no key of ours has such a name, which holds a colon."""
        names = (lookup(claims, claim) for claim in self._spec.name)
        name = next((each for each in names if isinstance(each, str) and each.strip()), str(claims["sub"]))
        return "oidc:" + "".join(c if c.isprintable() else "?" for c in readable(name.strip()))[:80]

    def _id(self, claims: Record) -> str:
        """Return what limits and idempotency keys go by."""
        return "oidc:" + hashlib.sha256(f"{claims['iss']}\n{claims['sub']}".encode()).hexdigest()[:32]


def _refused(error: Exception) -> UnauthenticatedError:
    """Return why a token is not taken, without a word of it."""
    kinds = (
        (jwt.ExpiredSignatureError, "the token has expired"),
        (jwt.InvalidAudienceError, "the token is for another audience"),
        (jwt.InvalidIssuerError, "the token is of another issuer"),
        (jwt.ImmatureSignatureError, "the token is not valid yet"),
        (jwt.InvalidAlgorithmError, "the token is not signed as it must be"),
        (jwt.InvalidKeyError, "the token is signed by an unknown key"),
        (jwt.InvalidSignatureError, "the token's signature is wrong"),
        (jwt.MissingRequiredClaimError, "the token lacks a claim: exp, iss, aud and sub are needed"),
    )
    message = next((text for kind, text in kinds if isinstance(error, kind)), "the token cannot be read")
    return UnauthenticatedError(message, hint="get a new one from the identity provider")


class _KeySet:
    """The provider's keys: fetched when one is needed, kept, and fetched again when they change."""

    def __init__(self, issuer: str, fetch: Fetch) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._lock = threading.Lock()
        self._waiting_slots = threading.BoundedSemaphore(WAITING)
        self._keys: tuple[tuple[str | None, jwt.PyJWK], ...] = ()
        self._fetched = self._failed = float("-inf")

    def find(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, None if there is none. Raises `UnavailableError`."""
        if time.monotonic() - self._fetched < KEPT and (key := self._kept(key_id, algorithm)):
            return key
        if not self._waiting_slots.acquire(blocking=False):
            raise _unreachable()
        try:
            self._refresh_once(key_id, algorithm)
        finally:
            self._waiting_slots.release()
        return self._kept(key_id, algorithm)

    def _refresh_once(self, key_id: object, algorithm: str) -> None:
        """Fetch the keys, unless another request has just done so."""
        if not self._lock.acquire(timeout=PATIENCE):
            raise _unreachable()
        try:
            age = time.monotonic() - self._fetched
            if age >= (UNKNOWN if self._kept(key_id, algorithm) is None else KEPT):
                self._refresh()
        finally:
            self._lock.release()

    def _kept(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the only kept key of this name, or of all where a token names none, that fits the algorithm."""
        matching_keys = [
            key
            for name, key in self._keys
            if key_id in (None, name) and key.key_type == KEY_TYPES[algorithm] and _fits(key, algorithm)
        ]
        return matching_keys[0] if len(matching_keys) == 1 else None

    def _refresh(self) -> None:
        if time.monotonic() - self._failed < FAILED:
            raise _unreachable()
        try:
            provider_metadata = self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if not isinstance(provider_metadata, dict) or provider_metadata.get("issuer") != self._issuer:
                raise UnavailableError("the identity provider describes another issuer")
            keys = self._fetch(_address(provider_metadata.get("jwks_uri")))
            if not isinstance(keys, dict) or not isinstance(keys.get("keys"), list):
                raise UnavailableError("the identity provider's keys cannot be read")
        except TriageError as error:
            self._failed = time.monotonic()
            error_log.warning("no token can be checked: %s", error.sentence())
            raise _unreachable() from error
        self._keys = tuple(_usable(keys["keys"][:100]))
        self._fetched = time.monotonic()


def _fits(key: jwt.PyJWK, algorithm: str) -> bool:
    declared = key._jwk_data.get("alg")  # noqa: SLF001 - the library has no other word for it
    return declared in (None, algorithm)


def _usable(keys: list[Any]) -> list[tuple[str | None, jwt.PyJWK]]:
    """Return the keys that sign; symmetric ones, and kinds that are not known, are passed over."""
    signing_keys = []
    for record in keys:
        if not isinstance(record, dict) or record.get("use") == "enc" or record.get("kty") not in KEY_TYPES.values():
            continue
        try:
            signing_keys.append((record.get("kid"), jwt.PyJWK(record)))
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return signing_keys


def _address(address: object) -> str:
    """Return the address of the keys. Raises `UnavailableError` if it could be read or changed on the way."""
    parts = urlsplit(address) if isinstance(address, str) else urlsplit("")
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return str(address)
    raise UnavailableError("the identity provider names no address of its keys")


def _unreachable() -> UnavailableError:
    return UnavailableError(
        "the identity provider's keys cannot be had just now, so no token can be checked",
        hint="the server's log says why; keys made by triage keys create work meanwhile",
    )


def json_fetcher(network: Network) -> Fetch:
    """Return what fetches a JSON value: no redirects, bounded in size and time. It raises `UnavailableError`."""
    import httpx

    def fetch(address: str) -> Any:
        until, body = time.monotonic() + DEADLINE, b""
        client = network.http_client("the identity provider", address, proxies=True, timeout=TIMEOUT)
        try:
            with client, client.stream("GET", address, headers={"accept": "application/json"}) as answer:
                if answer.status_code != 200:
                    raise UnavailableError(f"the identity provider answered {answer.status_code}")
                for piece in answer.iter_bytes(1 << 14):
                    body += piece
                    if len(body) > MOST or time.monotonic() > until:
                        raise UnavailableError("the identity provider's answer has no end")
            return json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            proxy = proxy_for(address)
            by = f" by {proxy.variable} at {host_of(proxy.url)}" if proxy else ""
            raise UnavailableError(f"the identity provider cannot be reached{by}: {reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise UnavailableError("the identity provider gave no JSON") from error

    return fetch
