"""Logs of dstack: what the system extended is read as far as its digests cover it, and has to lead to RTMR3."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from attestation.errors import EvidenceFormatError, NotAuthenticError
from attestation.eventlog import dstack, formats
from attestation.eventlog.claims import of_log
from attestation.eventlog.log import parse as parse_tcg
from attestation.eventlog.replay import Registers, check, replay
from tests.attestation.eventlog.test_log import ZERO, event, extended, header

RUNTIME = 0x08000001
BOOT = b"a program of the firmware"


def boot(imr: int, data: bytes = BOOT) -> dict[str, Any]:
    return {
        "imr": imr,
        "event_type": 0x80000003,
        "digest": hashlib.sha384(data).hexdigest(),
        "event": "",
        "event_payload": "aa",
    }


def runtime(name: str, payload: bytes = b"", **different: Any) -> dict[str, Any]:  # noqa: ANN401
    covered = RUNTIME.to_bytes(4, "little") + b":" + name.encode() + b":" + payload
    made = {
        "imr": 3, "event_type": RUNTIME, "digest": hashlib.sha384(covered).hexdigest(), "event": name,
        "event_payload": payload.hex(),
    }  # fmt: skip
    return {**made, **different}


def log(*events: dict[str, Any]) -> bytes:
    return json.dumps(events).encode()


SYSTEM = (
    runtime("system-preparing"),
    runtime("app-id", bytes(range(20))),
    runtime("compose-hash", bytes(range(32))),
    runtime("instance-id", b""),
    runtime("boot-mr-done"),
    runtime("key-provider", b'{"name":"kms"}'),
    runtime("system-ready"),
)
WHOLE = (boot(0), boot(1), boot(1), boot(2), *SYSTEM, runtime("mine", b"1"))


def registers(data: bytes, **different: bytes) -> Registers:
    values = dict.fromkeys(range(1, 5), ZERO) | replay(dstack.parse(data), "sha384")
    names = {number: f"rtmr{number - 1}" for number in range(1, 5)}
    changed = {number: different.get(name, values[number]) for number, name in names.items()}
    return Registers("sha384", changed, names, frozenset({1, 2, 3}), dynamic=False)


def test_what_the_system_says_is_in_the_claims() -> None:
    data = log(*WHOLE)
    check(formats.parse(data), registers(data))
    claims = of_log(formats.parse(data), registers(data))
    assert claims["explained"] == ["rtmr0", "rtmr1", "rtmr2", "rtmr3"]
    assert claims["system"] == {
        "system-preparing": "",
        "app-id": bytes(range(20)).hex(),
        "compose-hash": bytes(range(32)).hex(),
        "instance-id": "",
        "boot-mr-done": "",
        "key-provider": b'{"name":"kms"}'.hex(),
    }
    events = claims["events"]
    assert isinstance(events, list)
    assert [one.get("label") for one in events] == [None] * 4 + [one["event"] for one in SYSTEM] + ["mine"]
    assert (events[0]["data"], events[-1]["data"]) == (None, "31")


def test_the_registers_are_those_of_the_trust_domain() -> None:
    found = replay(dstack.parse(log(*WHOLE)), "sha384")
    assert found[1] == extended(BOOT)
    assert found[2] == extended(BOOT, BOOT)
    value = ZERO
    for one in (*SYSTEM, runtime("mine", b"1")):
        value = hashlib.sha384(value + bytes.fromhex(one["digest"])).digest()
    assert found[4] == value


def test_a_digest_that_dstack_made() -> None:
    """Of the event "app-id" in the documentation of its guest agent."""
    made = runtime("app-id", bytes.fromhex("17285b1c7797e193c3e876621e9755cc0c07ee31"))
    assert made["digest"] == (
        "b6ad74f6c161e210edc79e8f036301b26fb83ffebc2d70b358616c06cf4c548ed79c6c4b1df06d7d10527ec8c2b5e8b4"
    )


def test_the_later_version_covers_json() -> None:
    text = b'{"name":"app-id","payload":"00ff","type":134217729}'
    digest = hashlib.sha384(text).hexdigest()
    (found,) = dstack.parse(log(runtime("app-id", b"\0\xff", version=2, digest=digest))).events
    assert (found.preimage, found.covers_data("sha384")) == (text, True)
    assert (
        dstack.parse(log(runtime("app-id", version=1))).events == dstack.parse(log(runtime("app-id"))).events
    )


def test_a_digest_may_be_left_out_where_it_is_known() -> None:
    assert dstack.parse(log(runtime("app-id", digest=""))) == dstack.parse(log(runtime("app-id")))


@pytest.mark.parametrize("number", range(4))
def test_every_register_has_to_be_explained(number: int) -> None:
    data = log(*WHOLE)
    with pytest.raises(NotAuthenticError) as caught:
        check(dstack.parse(data), registers(data, **{f"rtmr{number}": bytes([7]) * 48}))
    assert caught.value.where == f"event log.rtmr{number}"


def test_a_log_of_the_firmware_leaves_rtmr3_to_the_system() -> None:
    data = header() + b"".join(event(number, b"a") for number in (1, 2, 3))
    values = replay(parse_tcg(data), "sha384") | {4: bytes([7]) * 48}
    names = {number: f"rtmr{number - 1}" for number in values}
    check(formats.parse(data), Registers("sha384", values, names, frozenset({1, 2, 3}), dynamic=False))
    assert "system" not in of_log(formats.parse(data), registers(log()))


CHANGES: dict[str, Sequence[dict[str, Any]]] = {
    "left out": SYSTEM[:2] + SYSTEM[3:],
    "in another order": (*SYSTEM[:1], SYSTEM[2], SYSTEM[1], *SYSTEM[3:]),
    "one more": (*SYSTEM[:2], runtime("app-id", b"another"), *SYSTEM[2:]),
    "another payload": (SYSTEM[0], runtime("app-id", b"another"), *SYSTEM[2:]),
    "another name": (SYSTEM[0], runtime("app_id", bytes(range(20))), *SYSTEM[2:]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_the_system_extended_cannot_be_changed(name: str) -> None:
    with pytest.raises(NotAuthenticError):
        check(dstack.parse(log(*CHANGES[name])), registers(log(*SYSTEM)))


def test_what_the_application_extends_is_not_the_systems() -> None:
    forged = (*SYSTEM, runtime("app-id", b"another"), runtime("os-image-hash", b"forged"))
    found = dstack.system(dstack.parse(log(*forged)))
    assert found == dstack.system(dstack.parse(log(*SYSTEM)))
    twice = (*SYSTEM[:-1], runtime("app-id", b"another"))
    assert dstack.system(dstack.parse(log(*twice)))["app-id"] == bytes(range(20)).hex()


def test_what_no_digest_covers_has_no_name() -> None:
    named = {**boot(3), "event": "compose-hash"}
    found = dstack.parse(log(named))
    assert dstack.system(found) == {}
    assert "compose-hash" not in json.dumps(of_log(found, registers(log(named))))


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "an object": b"{}",
    "not JSON": b"[",
    "an array of numbers": b"[1]",
    "another register": log({**boot(0), "imr": 4}),
    "no register": log({key: value for key, value in boot(0).items() if key != "imr"}),
    "an event of the system elsewhere": log(runtime("app-id", imr=2)),
    "a digest of another payload": log(runtime("app-id", b"a", event_payload="62")),
    "a digest of another name": log(runtime("app-id", event="app_id")),
    "a digest of another version": log(runtime("app-id", version=2)),
    "a version that is not known": log(runtime("app-id", version=0)),
    "a later version": log(runtime("app-id", version=3)),
    "a name with a colon": log(runtime("app-id:a")),
    "a digest of the firmware that is none": log({**boot(0), "digest": ""}),
    "a digest of another size": log({**boot(0), "digest": "00" * 32}),
    "a payload that is none": log(runtime("app-id", event_payload="zz")),
    "no payload": log({key: value for key, value in runtime("a").items() if key != "event_payload"}),
    "a name that is none": log(runtime("app-id", event=1)),
    "a type that is none": log({**boot(0), "event_type": 1 << 32}),
    "a name twice": b'[{"imr": 0, "imr": 1}]',
    "too large": b"[" + bytes(1 << 22),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_bytes_that_are_no_log(name: str) -> None:
    with pytest.raises(EvidenceFormatError):
        dstack.parse(MALFORMED[name])
    if name not in {"an object", "nothing"}:
        with pytest.raises(EvidenceFormatError):
            formats.parse(MALFORMED[name])


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from([*runtime("a"), "version"]), st.integers() | st.text() | st.none())
    )
)
def test_no_json_raises_anything_else(values: list[dict[str, Any]]) -> None:
    try:
        dstack.parse(json.dumps(values).encode())
    except EvidenceFormatError:
        return


def test_what_the_system_says_is_shown_only_where_its_register_is_signed() -> None:
    data = log(*WHOLE)
    whole = registers(data)
    assert "system" in of_log(dstack.parse(data), whole)
    values = {number: value for number, value in whole.values.items() if number != 4}
    assert "system" not in of_log(dstack.parse(data), replace(whole, values=values))
