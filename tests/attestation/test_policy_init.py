"""A drafted policy accepts the evidence that it was made from, and no other."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from attestation import kinds, policy_example, policy_init
from attestation.appraise import appraise
from attestation.endorsements import Endorsements
from attestation.errors import AppraisalError, AuthenticationError, PolicyError
from attestation.files import read_endorsements, read_evidence
from attestation.policy import load
from attestation.policy_file import locate
from tests import vectors
from tests.fakes.amd import NOW, Amd, Chip
from tests.vectors import Case

ROOTS = vectors.ROOT / "roots"
LABEL = "what was seen"


def material(case: Case) -> tuple[str, bytes, Endorsements]:
    """The kind, the evidence and everything that lies beside it."""
    first = next(iter(case.files.values()))
    folder = first.parent
    tee = {"snp": "snp", "nitro": "nitro", "nvidia": "nvidia", "cca": "cca"}.get(case.kind, "")
    if case.kind == "dcap":
        tee = "sgx" if case.id.startswith("sgx/") else "tdx"
    if case.kind == "azure":
        tee = "azure-tdx" if "tdx" in case.id else "azure-snp"
    name = {"snp": "report.bin", "nitro": "attestation.cose", "nvidia": "evidence.bin", "dcap": "quote.bin"}
    evidence = read_evidence(folder if case.kind == "azure" else folder / name[case.kind])
    beside = [
        path
        for path in folder.iterdir()
        if path.suffix in {".pem", ".der", ".json", ".table"} and path.name != "tpm_quote.json"
    ]
    extra = [ROOTS / "amd"] if "snp" in tee else [ROOTS / "nvidia"] if tee == "nvidia" else []
    return tee, evidence, read_endorsements([*beside, *extra])


ACCEPTED = (
    "snp/siena-v5-live",
    "snp/milan-v3-azure",
    "snp/milan-v2-trustee",
    "snp/milan-v3-vlek-aws-use2",
    "azure-vtpm/snp-milan-v2",
    "azure-vtpm/tdx-v1",
    "tdx/phala-v4-uptodate",
    "tdx/alibaba-v5-outofdate-servtd",
    "sgx/phala-sgx-v3",
    "nitro/prod-2021",
    "nitro/dstack-2025",
    "nvidia-gpu/h100-a",
    "nvidia-gpu/nvswitch-a",
)
DEBUG = (
    "snp/milan-v2-debug",
    "tdx/trustee-v4-50806f-debug",
    "nitro/automata1-debug",
    "nitro/debug-full-2024",
)
NOT_AUTHENTIC = (
    "snp/milan-v2-badvcek-new",
    "nvidia-gpu/h100-badsig",
    "tdx/ccapi-preprod-root",
    "nitro/prod-2021-now",
)
KINDS = ("snp", "azure", "dcap", "nitro", "nvidia")
REAL = {case.id: case for case in vectors.load(*KINDS)}


def real(name: str) -> Case:
    if name not in REAL:
        pytest.skip(vectors.ABSENT)
    return REAL[name]


def drafted(case: Case) -> str:
    tee, evidence, endorsements = material(case)
    assert case.time is not None
    return policy_init.draft(evidence, endorsements, tee, label=LABEL, now=case.time)


def appraised(case: Case, text: str) -> None:
    _, evidence, endorsements = material(case)
    assert case.time is not None
    unbound = text.replace('binding = "shim"', 'binding = "unchecked"')
    appraise(evidence, endorsements, load(unbound, "draft"), binding=None, now=case.time)


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_affirms_what_it_was_made_from(name: str) -> None:
    case = real(name)
    appraised(case, drafted(case))


@pytest.mark.parametrize(("level", "want"), [(0, [0]), (3, [3]), (0xFFFFFFFF, ["host"])])
def test_who_asked_for_a_report_is_pinned(level: int, want: list[object]) -> None:
    vendor, chip = Amd(), Chip()
    roots, supplied = vendor.roots, vendor.endorsements(chip)

    def judged(report: bytes) -> None:
        policy = load(text.replace('"shim"', '"unchecked"'), "draft")
        appraise(report, supplied, policy, binding=None, now=NOW, roots=roots)

    text = policy_init.draft(chip.report(VMPL=level), supplied, "snp", label=LABEL, now=NOW, roots=roots)
    assert tomllib.loads(text)["report"]["vmpl"] == want
    judged(chip.report(VMPL=level))
    for other in {0, 1, 3, 0xFFFFFFFF} - {level}:
        with pytest.raises(AppraisalError):
            judged(chip.report(VMPL=other))


@pytest.mark.parametrize(("one", "other"), [
    ("snp/siena-v5-live", "snp/milan-v3-azure"),
    ("snp/milan-v3-azure", "snp/siena-v5-live"),
    ("tdx/phala-v4-uptodate", "tdx/alibaba-v5-outofdate-servtd"),
    ("nitro/prod-2021", "nitro/dstack-2025"),
    ("nvidia-gpu/h100-a", "nvidia-gpu/nvswitch-a"),
])  # fmt: skip
def test_it_refuses_other_evidence(one: str, other: str) -> None:
    text = drafted(real(one))
    with pytest.raises(AppraisalError) as caught:
        appraised(real(other), text)
    assert len(caught.value.result.mismatches) > 2


@pytest.mark.parametrize("name", DEBUG)
def test_what_can_be_debugged_makes_no_policy(name: str) -> None:
    with pytest.raises(PolicyError, match="debug"):
        drafted(real(name))


def test_registers_that_a_vtpm_stands_for_make_no_policy() -> None:
    case = real("azure-vtpm/tdx-v1")
    quote, at = case.read("quote"), case.time
    assert at is not None
    with pytest.raises(PolicyError, match="rtmr1 as it was at launch"):
        policy_init.draft(quote, Endorsements(), "tdx", label=LABEL, now=at)


@pytest.mark.parametrize("name", NOT_AUTHENTIC)
def test_what_is_not_authentic_makes_no_policy(name: str) -> None:
    with pytest.raises(AuthenticationError):
        drafted(real(name))


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_line_with_a_value_has_a_comment(name: str) -> None:
    text = drafted(real(name))
    lines = text.splitlines()
    bare = {key for key, line in locate(text).items() if "#" not in lines[line - 1]}
    assert {key for key in bare if not re.match(r"measurements\.\d+$|tcb(\.|$)", key)} <= {
        "report",
        "xfam",
        "tcb",
        "platform",
        "document",
        "device",
        "td_attributes",
        "attributes",
    }


@pytest.mark.parametrize("name", ACCEPTED)
def test_only_the_products_that_were_seen_stay(name: str) -> None:
    values = tomllib.loads(drafted(real(name)))
    tables = [key for key, value in values.get("tcb", {}).items() if isinstance(value, dict)]
    assert len(tables) <= 1


@pytest.mark.parametrize("tee", kinds.KINDS)
def test_every_kind_has_an_example_that_can_be_used(tee: str) -> None:
    assert load(policy_example.text(tee), tee).tee == tee


def test_filling_in_keeps_the_comments() -> None:
    example = "a = 1 # the first\n[b]\nc = [ # the second\n 1,\n]\n[d.one]\ne = 1 # kept\n[d.two]\ne = 1 # dropped\n"
    values: dict[str, Any] = {"a": 2, "b.c": [{"x": "y"}], "d.one.e": {"k": 1}}
    text = policy_init.fill(example, values)
    assert tomllib.loads(text) == {"a": 2, "b": {"c": [{"x": "y"}]}, "d": {"one": {"e": {"k": 1}}}}
    assert all(words in text for words in ("# the first", "# the second", "# kept"))
    assert "dropped" not in text


def test_a_label_cannot_leave_its_string() -> None:
    text = policy_init.fill('a = "x"\n', {"a": 'he said "#"\n\\ x'})
    assert tomllib.loads(text) == {"a": 'he said "#"\n\\ x'}
