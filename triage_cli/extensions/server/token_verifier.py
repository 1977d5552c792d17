"""Tokens of an identity provider: JSON Web Tokens (RFC 7519) that are verified by the provider's published keys.

The keys are found by OpenID Connect Discovery, kept for an hour, and fetched anew at most once a minute for a token
that names an unknown one.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import jwt

from triage_cli import domain as dm
from triage_cli.config import OidcSpec
from triage_cli.extensions.server.auth import Caller
from triage_cli.extensions.server.server_log import error_log
from triage_cli.runtime import Network, host_of, is_loopback, proxy_for, reason

# Algorithms of asymmetric keys alone, by the type of the key: with HS256 the public key would be the secret.
KEY_TYPES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), "RSA"),
    **dict.fromkeys(("ES256", "ES384", "ES512"), "EC"),
    "EdDSA": "OKP",
}
SCOPE_CLAIMS = ("scope", "scp")  # claims whose text is a list of words (RFC 8693, and Entra ID)
# Parts of a token's head by which it could name its own key, or ask for what is not done.
REFUSED_HEADERS = frozenset({"jku", "x5u", "jwk", "x5c", "crit", "b64", "zip", "enc"})
LAST_SECOND = 253_402_300_799  # of the year 9999, the last one that a timestamp can tell
CLOCK_LEEWAY = 60.0  # seconds by which clocks may differ
LONGEST_TOKEN = 16_384  # characters of a token
KEYS_KEPT = 3600.0  # seconds for which keys are kept
UNKNOWN_KEY_PAUSE = 60.0  # seconds between two fetches for an unknown key
FAILED_FETCH_PAUSE = 10.0  # seconds after a failed fetch until the next one
FETCH_TIMEOUT = 3.0  # seconds for connecting, and for each piece of an answer
FETCH_DEADLINE = 5.0  # seconds for a whole answer
MOST_ANSWER_BYTES = 1 << 18  # bytes of an answer
FETCH_PATIENCE = 6.0  # seconds that a request waits for another one's fetch
# Requests that fetch keys or wait for that, each with a thread of the server: the other threads stay free for callers
# whose keys are known.
MOST_WAITING = 50


Claims = Mapping[str, Any]
FetchJson = Callable[[str], Any]


class TokenVerifier:
    """Verifies tokens, and returns their callers. `fetch_json` returns the JSON value at an address."""

    def __init__(self, spec: OidcSpec, fetch_json: FetchJson) -> None:
        self._spec = spec
        self._provider_keys = _ProviderKeys(spec.issuer, fetch_json)

    def caller(self, token: str) -> Caller:
        """Return the caller that a token proves.

        Raises `UnauthenticatedError` for a token that proves nothing, `RefusedError` if it gives no role, and
        `UnavailableError` while the provider's keys cannot be had.
        """
        if token.count(".") != 2:
            audience = " or ".join(f'"{each}"' for each in self._spec.audience)
            raise dm.UnauthenticatedError(
                "this is neither a key nor a token that can be read here: a token must be a signed JSON Web Token",
                hint=f"ask the identity provider for an access token for the audience {audience}; without an audience, "
                "many give one that they alone can read",
            )
        try:
            claims = self._verified_claims(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise _refused_token(error) from error
        expires = dm.timestamp(datetime.fromtimestamp(min(int(claims["exp"]), LAST_SECOND), UTC))
        return Caller(self._caller_id(claims), self._actor_name(claims), self._highest_role(claims), expires)

    def _verified_claims(self, token: str) -> Claims:
        if len(token) > LONGEST_TOKEN:
            raise jwt.InvalidTokenError
        token_head = jwt.get_unverified_header(token)
        algorithm, key_id = token_head.get("alg"), token_head.get("kid")
        if algorithm not in KEY_TYPES or REFUSED_HEADERS & token_head.keys():
            raise jwt.InvalidAlgorithmError
        key = self._provider_keys.find(key_id, algorithm)
        if key is None:
            raise jwt.InvalidKeyError
        claims: Claims = jwt.decode(
            token,
            key.key,
            algorithms=[algorithm],
            audience=list(self._spec.audience),
            issuer=self._spec.issuer,
            leeway=CLOCK_LEEWAY,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
        return claims

    def _highest_role(self, claims: Claims) -> str:
        """Return the highest role that a token's claims give."""
        claim = self._spec.claim
        claim_value = claims[claim] if claim in claims else dm.lookup(claims, claim)
        if isinstance(claim_value, str) and claim.rpartition(".")[2] in SCOPE_CLAIMS:
            claim_value = claim_value.split()
        theirs, ours = claim_value if isinstance(claim_value, list) else [claim_value], self._spec.roles
        granted = {ours[each] for each in (*theirs, "*") if isinstance(each, str) and each in ours}
        if not granted:
            raise dm.RefusedError("the token gives no role here", hint="server.oidc.roles in the config maps roles")
        return max(granted, key=dm.ROLES.index)

    def _actor_name(self, claims: Claims) -> str:
        """Return a token's actor for the audit log; no key of ours has such a name, which holds a colon."""
        claimed_names = (dm.lookup(claims, claim) for claim in self._spec.name)
        name = next((each for each in claimed_names if isinstance(each, str) and each.strip()), str(claims["sub"]))
        return "oidc:" + "".join(c if c.isprintable() else "?" for c in dm.readable(name.strip()))[:80]

    def _caller_id(self, claims: Claims) -> str:
        """Return the id of a token's caller, by which limits and idempotency keys go."""
        return "oidc:" + hashlib.sha256(f"{claims['iss']}\n{claims['sub']}".encode()).hexdigest()[:32]


def _refused_token(error: Exception) -> dm.UnauthenticatedError:
    """Return why a token is not taken, without a word of it."""
    refusals = (
        (jwt.ExpiredSignatureError, "the token has expired"),
        (jwt.InvalidAudienceError, "the token is for another audience"),
        (jwt.InvalidIssuerError, "the token is of another issuer"),
        (jwt.ImmatureSignatureError, "the token is not valid yet"),
        (jwt.InvalidAlgorithmError, "the token is not signed as it must be"),
        (jwt.InvalidKeyError, "the token is signed by an unknown key"),
        (jwt.InvalidSignatureError, "the token's signature is wrong"),
        (jwt.MissingRequiredClaimError, "the token lacks a claim: exp, iss, aud and sub are needed"),
    )
    message = next((text for kind, text in refusals if isinstance(error, kind)), "the token cannot be read")
    return dm.UnauthenticatedError(message, hint="get a new one from the identity provider")


class _ProviderKeys:
    """The identity provider's keys: fetched when one is needed, kept, and fetched again when they change."""

    def __init__(self, issuer: str, fetch_json: FetchJson) -> None:
        self._issuer = issuer
        self._fetch_json = fetch_json
        self._fetch_lock = threading.Lock()
        self._waiting_slots = threading.BoundedSemaphore(MOST_WAITING)
        self._provider_keys: tuple[tuple[str | None, jwt.PyJWK], ...] = ()
        self._fetched_at = self._fetch_failed_at = float("-inf")

    def find(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the key that a token names, None if there is none. Raises `UnavailableError`."""
        if time.monotonic() - self._fetched_at < KEYS_KEPT and (key := self._matching_key(key_id, algorithm)):
            return key
        if not self._waiting_slots.acquire(blocking=False):
            raise _provider_unreachable()
        try:
            self._fetch_keys_once(key_id, algorithm)
        finally:
            self._waiting_slots.release()
        return self._matching_key(key_id, algorithm)

    def _fetch_keys_once(self, key_id: object, algorithm: str) -> None:
        """Fetch the provider's keys, unless another request has just done so."""
        if not self._fetch_lock.acquire(timeout=FETCH_PATIENCE):
            raise _provider_unreachable()
        try:
            keys_age = time.monotonic() - self._fetched_at
            if keys_age >= (UNKNOWN_KEY_PAUSE if self._matching_key(key_id, algorithm) is None else KEYS_KEPT):
                self._fetch_keys()
        finally:
            self._fetch_lock.release()

    def _matching_key(self, key_id: object, algorithm: str) -> jwt.PyJWK | None:
        """Return the only kept key of this name, or of all where a token names none, that fits the algorithm."""
        matching_keys = [
            key
            for name, key in self._provider_keys
            if key_id in (None, name)
            and key.key_type == KEY_TYPES[algorithm]
            and key._jwk_data.get("alg") in (None, algorithm)  # noqa: SLF001 - the library has no other word for it
        ]
        return matching_keys[0] if len(matching_keys) == 1 else None

    def _fetch_keys(self) -> None:
        if time.monotonic() - self._fetch_failed_at < FAILED_FETCH_PAUSE:
            raise _provider_unreachable()
        try:
            provider_metadata = self._fetch_json(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
            if not isinstance(provider_metadata, dict) or provider_metadata.get("issuer") != self._issuer:
                raise dm.UnavailableError("the identity provider describes another issuer")
            key_set = self._fetch_json(_safe_keys_address(provider_metadata.get("jwks_uri")))
            if not isinstance(key_set, dict) or not isinstance(key_set.get("keys"), list):
                raise dm.UnavailableError("the identity provider's keys cannot be read")
        except dm.TriageError as error:
            self._fetch_failed_at = time.monotonic()
            error_log.warning("no token can be checked: %s", error.sentence())
            raise _provider_unreachable() from error
        self._provider_keys = tuple(_signing_keys(key_set["keys"][:100]))
        self._fetched_at = time.monotonic()


def _signing_keys(jwks: list[Any]) -> list[tuple[str | None, jwt.PyJWK]]:
    """Return the provider's keys that sign; symmetric ones, and kinds that are not known, are passed over."""
    signing_keys = []
    for jwk in jwks:
        if not isinstance(jwk, dict) or jwk.get("use") == "enc" or jwk.get("kty") not in KEY_TYPES.values():
            continue
        try:
            signing_keys.append((jwk.get("kid"), jwt.PyJWK(jwk)))
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
    return signing_keys


def _safe_keys_address(url: object) -> str:
    """Return the address of the provider's keys. Raises `UnavailableError` if they could be changed on the way."""
    keys_url = urlsplit(url) if isinstance(url, str) else urlsplit("")
    if keys_url.scheme == "https" or (keys_url.scheme == "http" and is_loopback(keys_url.hostname or "")):
        return str(url)
    raise dm.UnavailableError("the identity provider names no address of its keys")


def _provider_unreachable() -> dm.UnavailableError:
    return dm.UnavailableError(
        "the identity provider's keys cannot be had just now, so no token can be checked",
        hint="the server's log says why; keys made by triage keys create work meanwhile",
    )


def json_fetcher(network: Network) -> FetchJson:
    """Return what fetches a JSON value: no redirects, bounded in size and time. It raises `UnavailableError`."""
    import httpx

    def fetch_json(url: str) -> Any:
        fetch_until, body = time.monotonic() + FETCH_DEADLINE, b""
        http_client = network.http_client("the identity provider", url, proxies=True, timeout=FETCH_TIMEOUT)
        try:
            with http_client, http_client.stream("GET", url, headers={"accept": "application/json"}) as answer:
                if answer.status_code != 200:
                    raise dm.UnavailableError(f"the identity provider answered {answer.status_code}")
                for answer_piece in answer.iter_bytes():  # as they come: a size of its own would gather them
                    body += answer_piece
                    if len(body) > MOST_ANSWER_BYTES or time.monotonic() > fetch_until:
                        raise dm.UnavailableError("the identity provider's answer has no end")
            return json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            proxy = proxy_for(url)
            by = f" by {proxy.variable} at {host_of(proxy.url)}" if proxy else ""
            raise dm.UnavailableError(f"the identity provider cannot be reached{by}: {reason(error)}") from error
        except (ValueError, RecursionError) as error:
            raise dm.UnavailableError("the identity provider gave no JSON") from error

    return fetch_json
