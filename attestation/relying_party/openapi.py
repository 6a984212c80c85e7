"""What the service offers, as an OpenAPI document, which it serves at /v1/openapi.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attestation.relying_party.kbs import COOKIE
from attestation.relying_party.resources import NAME
from attestation.verdict import Verdict
from shim.canonical import JsonValue

_JSON: Final = "application/json"
_ANY = "[A-Za-z0-9_-]"
_PART = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _octets(size: int | None = None) -> Mapping[str, JsonValue]:
    """Return the schema of bytes in base64url; every size has one length, and bits left over are zero."""
    said = "base64url without padding, RFC 7515"
    if size is None:
        ending = f"{_ANY}[AQgw]|{_ANY}{{2}}[AEIMQUYcgkosw048]"
        pattern = f"^({_ANY}{{4}})*({ending}|{_ANY}{{4}})$"
        return {"type": "string", "pattern": pattern, "description": said}
    last = {0: "", 1: "[AQgw]", 2: "[AEIMQUYcgkosw048]"}[size % 3]
    body = f"{_ANY}{{{(size * 8 + 5) // 6 - bool(last)}}}"
    return {"type": "string", "pattern": f"^{body}{last}$", "description": f"{size} bytes, {said}"}


def _object(
    properties: Mapping[str, JsonValue], *optional: str, closed: bool = True
) -> Mapping[str, JsonValue]:
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": not closed,
    }


def _reference(name: str) -> Mapping[str, JsonValue]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: JsonValue) -> Mapping[str, JsonValue]:
    return {_JSON: {"schema": schema}}


def _answers(good: str, schema: JsonValue, *errors: str, error: str = "Error") -> Mapping[str, JsonValue]:
    named = {**dict.fromkeys(("429", "500"), "Error"), **dict.fromkeys(errors, error)}
    refused: dict[str, JsonValue] = {
        code: {"description": _STATUS[code], "content": _content(_reference(name))}
        for code, name in named.items()
    }
    return {"200": {"description": good, "content": _content(schema)}, **refused}


def _body(name: str, *, required: bool = True) -> Mapping[str, JsonValue]:
    return {"required": required, "content": _content(_reference(name))}


def _parameter(name: str, where: str, schema: JsonValue) -> Mapping[str, JsonValue]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


_STATUS = {
    "400": "The request is malformed; nothing was spent.",
    "401": "Attestation comes first.",
    "403": "Refused, with the verdict and no more; or not to be released.",
    "404": "No such resource.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "Too often from this address.",
    "500": "A fault of the service.",
    "503": "The store cannot be asked; nothing was released.",
}
_SCHEMAS: Mapping[str, JsonValue] = {
    "Error": _object(
        {
            "error": {"type": "string"},
            "verdict": {"enum": [one.value for one in Verdict if one is not Verdict.AFFIRMING]},
            "detail": {"type": "string", "description": "What was wrong with the request itself."},
        },
        "verdict",
        "detail",
    ),
    "Nothing": {"type": "object", "maxProperties": 0},
    "Challenge": _object({"nonce": _octets(32), "expires": {"type": "integer", "description": "Unix time"}}),
    "AttestRequest": _object(
        {
            "nonce": _octets(32),
            "resource": {"type": "string", "pattern": f"^{NAME.pattern}$"},
            "evidence": _octets(),
            "public_key": _octets(32),
            "plan_digest": _octets(32),
            "certificates": _octets(),
            "event_log": _octets(),
        },
        "plan_digest",
        "certificates",
        "event_log",
    ),
    "Released": _object(
        {
            "resource": {"type": "string"},
            "version": {"type": "integer", "minimum": 1},
            "sealed": _octets(),
            "token": {"type": "string", "description": "EAT attestation result, a JWT"},
        },
        "token",
    ),
    "Keys": _object({"keys": {"type": "array", "items": {"type": "object"}}}),
    "Health": _object({"status": {"const": "ok"}}),
    "KbsError": _object({"type": {"type": "string"}, "detail": {"type": "string"}}),
    "KbsRequest": _object(
        {"version": {"type": "string"}, "tee": {"type": "string"}, "extra-params": {}},
        "extra-params",
        closed=False,
    ),
    "KbsChallenge": _object({"nonce": {"type": "string"}, "extra-params": {"type": "object"}}),
    "KbsAttestation": _object(
        {
            "init-data": {},
            "runtime-data": _object({"nonce": {"type": "string"}, "tee-pubkey": {"type": "object"}}),
            "tee-evidence": _object(
                {"primary_evidence": {"type": "object"}, "additional_evidence": {"type": "string"}},
                closed=False,
            ),
        },
        "init-data",
        closed=False,
    ),
    "KbsToken": _object({"token": {"type": "string"}}),
    "KbsResponse": _object(
        {name: {"type": "string"} for name in ("protected", "encrypted_key", "iv", "ciphertext", "tag")}
    ),
}
_WORK = ("400", "408", "413", "415", "503")
_SESSION = _parameter(COOKIE, "cookie", {"type": "string"})
_PATHS: Mapping[str, JsonValue] = {
    "/v1/challenge": {
        "post": {
            "operationId": "challenge",
            "summary": "A nonce, to be bound into evidence.",
            "requestBody": _body("Nothing", required=False),
            "responses": _answers("A question.", _reference("Challenge"), "400", "408", "413", "415"),
        }
    },
    "/v1/attest": {
        "post": {
            "operationId": "attest",
            "summary": "Evidence in, token and sealed resource out; spends the nonce.",
            "requestBody": _body("AttestRequest"),
            "responses": _answers("Affirmed.", _reference("Released"), "403", "404", *_WORK),
        }
    },
    "/v1/resource/{name}": {
        "get": {
            "operationId": "resource",
            "summary": "Another sealed resource of the same policy.",
            "security": [{"token": []}],
            "parameters": [_parameter("name", "path", {"type": "string", "pattern": f"^{NAME.pattern}$"})],
            "responses": _answers("Released.", _reference("Released"), "400", "401", "403", "404", "503"),
        }
    },
    "/v1/keys": {
        "get": {
            "operationId": "keys",
            "summary": "The keys that sign tokens, as a JSON web key set.",
            "responses": _answers("Keys.", _reference("Keys")),
        }
    },
    "/live": {
        "get": {
            "operationId": "live",
            "summary": "That the process lives.",
            "responses": _answers("It does.", _reference("Health")),
        }
    },
    "/health": {
        "get": {
            "operationId": "health",
            "summary": "Whether the store answers.",
            "responses": _answers("It does.", _reference("Health"), "503"),
        }
    },
    "/metrics": {
        "get": {
            "operationId": "metrics",
            "summary": "For Prometheus.",
            "responses": {
                **_answers("Counts and times.", {}),
                "200": {
                    "description": "Counts and times.",
                    "content": {"text/plain": {"schema": {"type": "string"}}},
                },
            },
        }
    },
    "/kbs/v0/auth": {
        "post": {
            "operationId": "kbs_auth",
            "summary": "Confidential Containers: a challenge, and the cookie of a session.",
            "requestBody": _body("KbsRequest"),
            "responses": _answers(
                "A question.", _reference("KbsChallenge"), "401", *_WORK[1:], error="KbsError"
            ),
        }
    },
    "/kbs/v0/attest": {
        "post": {
            "operationId": "kbs_attest",
            "summary": "Confidential Containers: evidence in, token out.",
            "parameters": [_SESSION],
            "requestBody": _body("KbsAttestation"),
            "responses": _answers("Affirmed.", _reference("KbsToken"), "401", *_WORK[1:], error="KbsError"),
        }
    },
    "/kbs/v0/resource/{repository}/{type}/{tag}": {
        "get": {
            "operationId": "kbs_resource",
            "summary": "Confidential Containers: a resource, encrypted to the key of the session.",
            "security": [{"token": []}, {}],
            "parameters": [
                _SESSION,
                *(
                    _parameter(name, "path", {"type": "string", "pattern": _PART})
                    for name in ("repository", "type", "tag")
                ),
            ],
            "responses": _answers(
                "Released.", _reference("KbsResponse"), "401", "404", "503", error="KbsError"
            ),
        }
    },
}
DOCUMENT: Mapping[str, JsonValue] = {
    "openapi": "3.1.0",
    "info": {"title": "shim relying party", "version": "1"},
    "paths": _PATHS,
    "components": {
        "schemas": _SCHEMAS,
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    },
}
