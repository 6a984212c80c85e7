"""
With which key does a realm sign its token?

Tokens without a profile have the point alone, those of profile "tag:arm.com,2023:realm#1.0.0" and later a
COSE_Key.  No bytes are both: a point of these sizes begins with 4, a COSE_Key is a map.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from attestation import cose
from attestation.cca.evidence import SOURCE
from attestation.errors import EvidenceFormatError, NotAuthenticError

WHERE = "realm token.44237"
_KEY_SOURCE = 'RFC 9053, section 7.1.1, "Double Coordinate Curves"'
_POINT_SIZES: Mapping[int, ec.EllipticCurve] = {
    65: ec.SECP256R1(),
    97: ec.SECP384R1(),
    133: ec.SECP521R1(),
}
_KEY_TYPE, _CURVE, _X, _Y = 1, -1, -2, -3
_TWO_COORDINATES = 2
_CURVES: Mapping[int, tuple[ec.EllipticCurve, int]] = {
    1: (ec.SECP256R1(), 32),
    2: (ec.SECP384R1(), 48),
    3: (ec.SECP521R1(), 66),
}


def read(raw: bytes) -> ec.EllipticCurvePublicKey:
    """
    Return the key in a claim, which is a point or a COSE_Key.

    Raises:
        NotAuthenticError: it is neither, or no point of its curve: nothing can be signed with it.

    Source:
        Realm Management Monitor Specification, DEN0137, 1.0, section A7.2.3.1; draft-ffm-rats-cca-token,
        "Realm Public Key Claim".  RFC 9053, section 7.1.1.
    """
    curve = _POINT_SIZES.get(len(raw))
    if curve is not None and raw[0] == 4:  # SEC 1, section 2.3.3: not compressed
        return _key(curve, raw)
    try:
        members = cose.cbor(raw, WHERE)
    except EvidenceFormatError:
        members = None
    if not isinstance(members, Mapping):
        want = "a point of P-256, P-384 or P-521, or a COSE_Key"
        raise NotAuthenticError(WHERE, f"{len(raw)} bytes", want, SOURCE)
    return _from_members(members)


def _from_members(members: Mapping[object, object]) -> ec.EllipticCurvePublicKey:
    kind, number, x, y = (members.get(label) for label in (_KEY_TYPE, _CURVE, _X, _Y))
    curve, size = _CURVES.get(number, (None, 0)) if isinstance(number, int) else (None, 0)
    if kind != _TWO_COORDINATES or curve is None:
        found = f"key type {kind!r:.40}, curve {number!r:.40}"
        raise NotAuthenticError(WHERE, found, "2, and 1 to 3: P-256, P-384 or P-521", _KEY_SOURCE)
    if not (isinstance(x, bytes) and isinstance(y, bytes) and len(x) == len(y) == size):
        raise NotAuthenticError(WHERE, "other coordinates", f"x and y of {size} bytes", _KEY_SOURCE)
    return _key(curve, b"\4" + x + y)


def _key(curve: ec.EllipticCurve, point: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError as error:
        raise NotAuthenticError(WHERE, point.hex(), f"a point of {curve.name}", SOURCE) from error
