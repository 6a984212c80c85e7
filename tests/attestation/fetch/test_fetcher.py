"""From a question to the store, with real servers and clocks that a test turns."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from attestation import needed
from attestation.errors import AuthenticationError
from attestation.fetch import retry, services as addresses
from attestation.fetch.errors import FetchError, TemporaryError, WrongAnswerError
from attestation.fetch.fetcher import Fetcher, State
from attestation.fetch.http_transport import HttpTransport
from attestation.fetch.pace import Pace
from attestation.fetch.services import Services
from attestation.fetch.timing import Patience, Timing
from attestation.intel import pcs
from attestation.snp import kds
from attestation.snp.products import MILAN
from attestation.store.store import Store
from attestation.wanted import Wanted
from tests.fakes import amd
from tests.fakes.amd import NOW, Amd, Chip
from tests.fakes.intel import FMSPC, PLATFORM_CA, QE_IDENTITY, ROOT, TCB_INFO, Intel, revocation_list, sign
from tests.fakes.service import Question, Service, in_header, pem, serve

AMD, CHIP, INTEL = Amd(), Chip(), Intel()
LEAF, ASK, ARK = AMD.chain(CHIP)
CHAIN, VCEK, CRL = needed.of_chip(MILAN, CHIP.hwid, CHIP.tcb, AMD.roots)
LIST, ROOT_CRL = AMD.crl(), revocation_list(ROOT, "root")
PLATFORM = needed.of_platform("TDX", FMSPC, ["platform"], INTEL.roots())


@dataclass
class Clock:
    """A clock that moves when somebody sleeps, and remembers for how long."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)
    chance: float = 0.5

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds

    @property
    def timing(self) -> Timing:
        """Answers take real time, which counts for nothing here."""
        return Timing(
            lambda: NOW + timedelta(seconds=self.at), lambda: self.at, self.sleep, lambda: self.chance
        )


@dataclass
class Bench:
    fetcher: Fetcher
    service: Service
    store: Store
    clock: Clock

    def fetch(self, *wanted: Wanted) -> list[State]:
        return [one.state for one in self.fetcher.fetch_all(wanted)]

    def error(self, wanted: Wanted) -> str:
        with pytest.raises(FetchError) as caught:
            self.fetcher.fetch(wanted)
        assert self.store.find(wanted.url) is None
        return str(caught.value)


def document(name: str, body: bytes) -> bytes:
    return b'{"%s":%s,"signature":"%s"}' % (name.encode(), body, sign("signing", body).hex().encode())


def answer(question: Question) -> None:
    """Answer as the two services and a PCCS do, with an ETag for each path."""
    path, tag = question.path, f'"{len(question.path)}"'
    signer, above = (
        in_header(INTEL.signing.der(), INTEL.root.der()),
        in_header(INTEL.ca.der(), INTEL.root.der()),
    )
    if question.headers.get("If-None-Match") == tag:
        question.answer(status=304)
    elif path.endswith("/cert_chain"):
        question.answer(pem(ASK, ARK), ETag=tag)
    elif path.startswith("/vcek/") and "SPL=" in path:
        question.answer(LEAF, ETag=tag)
    elif path.endswith("/crl"):
        question.answer(LIST, ETag=tag)
    elif "/tcb?" in path:
        body = document("tcbInfo", json.dumps(TCB_INFO).encode())
        question.answer(body, ETag=tag, TCB_Info_Issuer_Chain=signer)
    elif "/qe/identity" in path:
        body = document("enclaveIdentity", json.dumps(QE_IDENTITY).encode())
        question.answer(body, ETag=tag, SGX_Enclave_Identity_Issuer_Chain=signer)
    elif "/pckcrl?" in path:
        body = revocation_list(PLATFORM_CA, "ca")
        question.answer(body, ETag=tag, SGX_PCK_CRL_Issuer_Chain=above)
    elif path.endswith("/rootcacrl"):
        question.answer(ROOT_CRL.hex().encode(), ETag=tag)
    elif path == "/IntelSGXRootCA.der":
        question.answer(ROOT_CRL, ETag=tag)
    else:
        question.answer(status=404)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    clock = Clock()
    with serve(answer) as service:
        store = Store(tmp_path / "store")
        transport = HttpTransport(lambda: clock.at + 0.0)
        asked = Services(kds=service.url, pcs=service.url)
        pace = Pace(tmp_path / "pace", clock.timing)
        patience = Patience(total=100, attempt=5)
        yield Bench(Fetcher(store, asked, transport, pace, clock.timing, patience), service, store, clock)
        transport.close()


def test_everything_that_a_chip_needs_is_stored(bench: Bench) -> None:
    assert bench.fetch(CHAIN, VCEK, CRL) == [State.STORED] * 3
    endorsements, missing = bench.store.supply([CHAIN, VCEK, CRL])
    assert (set(endorsements.certificates), endorsements.revocation_lists) == ({LEAF, ASK, ARK}, (LIST,))
    assert missing == ()


def test_issuers_are_fetched_when_only_the_list_is_wanted(bench: Bench) -> None:
    assert bench.fetch(CRL) == [State.STORED]
    assert bench.service.paths == ["/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"]


def test_certificates_are_asked_for_once_and_lists_conditionally(bench: Bench) -> None:
    bench.fetch(CHAIN, VCEK, CRL)
    bench.service.asked.clear()
    bench.clock.at += 86400
    assert bench.fetch(CHAIN, VCEK, CRL) == [State.KEPT, State.KEPT, State.UNCHANGED]
    (asked,) = bench.service.asked
    assert (asked.path, asked.headers["If-None-Match"]) == ("/vcek/v1/Milan/crl", '"18"')
    kept = bench.store.find(CRL.url)
    assert kept is not None
    assert kept.fetched == NOW + timedelta(days=1)


def test_last_modified_is_sent_back_as_it_came(bench: Bench) -> None:
    when = "Sun, 01 Jun 2025 00:00:00 GMT"
    bench.fetch(CHAIN)
    bench.service.failures.append(lambda question: question.answer(LIST, Last_Modified=when))
    bench.fetch(CRL)
    bench.service.failures.append(lambda question: question.answer(status=304))
    assert bench.fetch(CRL) == [State.UNCHANGED]
    assert bench.service.asked[-1].headers["If-Modified-Since"] == when


def test_another_service_is_not_asked_by_the_names_of_the_first(bench: Bench) -> None:
    bench.fetch(CRL)
    with serve(answer) as other:
        fetcher = Fetcher(
            bench.store,
            Services(kds=other.url),
            bench.fetcher.transport,
            bench.fetcher.pace,
            bench.clock.timing,
        )
        assert fetcher.fetch(CRL)[1] is State.STORED
        assert "If-None-Match" not in other.asked[0].headers


def test_not_modified_without_a_condition_is_wrong(bench: Bench) -> None:
    bench.service.failures.append(lambda question: question.answer(status=304))
    assert "found status 304, want status 200" in bench.error(CHAIN)


def test_unchanged_but_expired_is_asked_for_again(bench: Bench) -> None:
    bench.fetch(CRL)
    bench.clock.at += timedelta(days=40).total_seconds()
    bench.service.asked.clear()
    outcome = next(iter(bench.fetcher.fetch_all([CRL])))
    assert outcome.state is State.FAILED
    assert "good until 2025-07-01" in str(outcome.error)
    assert ["If-None-Match" in one.headers for one in bench.service.asked] == [True, False]


def test_damaged_object_is_fetched_again(bench: Bench) -> None:
    bench.fetch(CHAIN, VCEK, CRL)
    for path in (bench.store.root / "objects").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    bench.service.asked.clear()
    assert bench.fetch(CHAIN, VCEK, CRL) == [State.STORED] * 3
    assert all("If-None-Match" not in one.headers for one in bench.service.asked)


# Intel and PCCS


def test_everything_that_a_platform_needs_is_stored(bench: Bench) -> None:
    assert bench.fetch(*PLATFORM) == [State.STORED] * 4
    assert bench.service.paths == [
        "/tdx/certification/v4/tcb?fmspc=90C06F000000",
        "/tdx/certification/v4/qe/identity",
        "/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        "/IntelSGXRootCA.der",
    ]
    endorsements, missing = bench.store.supply(PLATFORM)
    assert (len(endorsements.documents), len(endorsements.revocation_lists), missing) == (2, 2, ())
    assert bench.fetch(*PLATFORM) == [State.UNCHANGED] * 4


def test_early_set_stands_beside_the_standard_one(bench: Bench) -> None:
    early = needed.of_platform("TDX", FMSPC, ["platform"], INTEL.roots(), early=True)
    assert bench.fetch(*PLATFORM, *early[:2]) == [State.STORED] * 6
    assert bench.service.paths[-2:] == [
        "/tdx/certification/v4/tcb?fmspc=90C06F000000&update=early",
        "/tdx/certification/v4/qe/identity?update=early",
    ]
    assert len({one.url for one in bench.store.everything()}) == 6


@pytest.mark.parametrize("path", ["", "/", "/sgx/certification/v4", "/sgx/certification/v4/"])
def test_pccs_is_asked_in_its_own_way(bench: Bench, path: str) -> None:
    asked = Services(pccs=addresses.base(bench.service.url + path))
    fetcher = Fetcher(bench.store, asked, bench.fetcher.transport, bench.fetcher.pace, bench.clock.timing)
    assert [one.state for one in fetcher.fetch_all(PLATFORM)] == [State.STORED] * 4
    assert bench.service.paths[-1] == "/sgx/certification/v4/rootcacrl"
    assert bench.store.supply(PLATFORM)[0].revocation_lists[-1] == ROOT_CRL


def test_answer_without_its_issuers_is_wrong(bench: Bench) -> None:
    body = document("tcbInfo", json.dumps(TCB_INFO).encode())
    bench.service.failures.append(lambda question: question.answer(body))
    assert "found no issuer chain, want a header tcb-info-issuer-chain" in bench.error(PLATFORM[0])


def test_early_answer_to_a_question_for_another_family_is_wrong(bench: Bench) -> None:
    other = pcs.TcbInfo("TDX", bytes(6), early=True, roots=INTEL.roots())
    assert "want one for TDX of FMSPC 000000000000" in bench.error(other)


# What goes wrong


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_failures_of_the_service_are_waited_for(bench: Bench, status: int) -> None:
    bench.service.failures += [lambda question: question.answer(status=status)] * 3
    assert bench.fetch(CHAIN) == [State.STORED]
    assert bench.clock.slept == [1.0, 2.0, 4.0]  # half of 2, 4, 8: chance is 0.5


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_pauses_are_jittered_from_nothing_to_a_limit(bench: Bench, chance: float) -> None:
    bench.clock.chance = chance
    bench.service.failures += [lambda question: question.answer(status=503)] * 5
    assert bench.fetch(CHAIN) == [State.STORED]
    assert bench.clock.slept == [chance * 2 * 2**number for number in range(5)]


@pytest.mark.parametrize("wait", ["7", "Sun, 01 Jun 2025 00:00:07 GMT"])
def test_retry_after_is_honoured(bench: Bench, wait: str) -> None:
    bench.service.failures.append(lambda question: question.answer(status=429, Retry_After=wait))
    assert bench.fetch(CHAIN) == [State.STORED]
    assert bench.clock.slept == [8.0]


def test_retry_after_beyond_the_limit_ends_at_once_and_binds_others(bench: Bench) -> None:
    bench.service.failures.append(lambda question: question.answer(status=429, Retry_After="3600"))
    assert "found status 429 after 1 attempt, to be asked again in 3600 seconds" in bench.error(CHAIN)
    assert bench.clock.slept == []
    assert "3600 seconds until it may be asked again" in bench.error(CHAIN)
    assert len(bench.service.asked) == 1
    bench.clock.at += 3601
    assert bench.fetch(CHAIN) == [State.STORED]


def test_time_is_bounded(bench: Bench) -> None:
    bench.clock.chance = 1.0
    bench.service.failures += [lambda question: question.answer(status=500)] * 50
    assert "found status 500 after 6 attempts, want status 200" in bench.error(CHAIN)
    assert sum(bench.clock.slept) <= 100


def test_service_that_is_down_is_waited_for_once(bench: Bench) -> None:
    bench.service.failures += [lambda question: question.answer(status=503)] * 20
    bench.error(CHAIN)
    before, bench.clock.slept = len(bench.service.asked), []
    del bench.service.failures[2:]
    assert bench.fetch(CHAIN, CRL) == [State.FAILED, State.FAILED]
    assert (len(bench.service.asked) - before, bench.clock.slept) == (2, [])
    assert bench.fetch(CHAIN, CRL) == [State.STORED, State.STORED]
    bench.service.failures += [lambda question: question.answer(status=503)]
    assert bench.fetch(CRL) == [State.UNCHANGED]  # it answers again, and has all patience back


def truncated(question: Question) -> None:
    question.begin(Content_Length="5000")
    question.http.wfile.write(pem(ASK))
    question.http.close_connection = True


def test_truncated_answer_is_asked_for_again(bench: Bench) -> None:
    bench.service.failures.append(truncated)
    assert bench.fetch(CHAIN) == [State.STORED]
    assert len(bench.service.asked) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 501, 204])
def test_other_refusals_are_final(bench: Bench, status: int) -> None:
    bench.service.failures.append(lambda question: question.answer(status=status))
    assert f"{bench.service.url}/vcek/v1/Milan/cert_chain: found status {status}" in bench.error(CHAIN)
    assert len(bench.service.asked) == 1


def test_redirect_elsewhere_is_not_followed(bench: Bench) -> None:
    with serve(answer) as elsewhere:
        bench.service.failures.append(
            lambda question: question.answer(status=302, Location=elsewhere.url + question.path)
        )
        assert f"a redirect to {elsewhere.url}/vcek" in bench.error(CHAIN)
        assert elsewhere.asked == []


STRANGER = Amd(label="stranger")


@pytest.mark.parametrize(
    ("wanted", "body", "found"),
    [
        (VCEK, AMD.chain(Chip(label="other"))[0], "SEV-VCEK.HWID: "),
        (VCEK, AMD.chain(Chip(tcb=bytes([3, 0, 0, 0, 0, 0, 24, 219])))[0], "SEV-VCEK.blSPL: 3"),
        (VCEK, STRANGER.chain(CHIP)[0], "a signature of another key"),
        (CHAIN, pem(*STRANGER.chain(CHIP)[1:]), "root of the chain: ARK-Milan with key sha256:"),
        (CRL, AMD.crl(key=amd.rsa_key("stranger")), "a signature of another key"),
        (CRL, AMD.crl(end=NOW - timedelta(days=1)), "good until 2025-05-31"),
        (CHAIN, b"<html>Sign in</html>", "(text/html, beginning '<html>Sign in</html>')"),
        (CRL, b"", "(text/html, empty)"),
        (VCEK, b"\xff\xfe garbage", "(text/html, beginning 'fffe2067617262616765')"),
    ],
)
def test_wrong_answer_is_never_stored(bench: Bench, wanted: Wanted, body: bytes, found: str) -> None:
    if wanted is not CHAIN:
        bench.fetch(CHAIN)
    bench.service.failures.append(lambda question: question.answer(body, Content_Type="text/html"))
    before = list(bench.store.everything())
    assert found in bench.error(wanted)
    assert list(bench.store.everything()) == before


def test_older_list_is_not_taken_for_a_newer(bench: Bench) -> None:
    bench.fetch(CRL)
    older = AMD.crl(start=NOW - timedelta(days=60))
    bench.service.failures.append(lambda question: question.answer(older))
    with pytest.raises(WrongAnswerError, match="want none before 2025-05-01"):
        bench.fetcher.fetch(CRL)
    kept = bench.store.find(CRL.url)
    assert kept is not None
    assert kept.answer.body == LIST


def test_one_failure_stops_no_other(bench: Bench) -> None:
    other = kds.Vcek(MILAN, bytes(64), CHIP.tcb, AMD.roots)
    assert bench.fetch(CHAIN, other, VCEK) == [State.STORED, State.FAILED, State.STORED]


# The pace of all processes


def test_vceks_are_ten_seconds_apart_at_amd_only() -> None:
    assert addresses.interval(VCEK.url) == 10
    for url in (
        CHAIN.url,
        CRL.url,
        PLATFORM[0].url,
        VCEK.url.replace("kdsintf.amd.com", "mirror.example.com"),
    ):
        assert addresses.interval(url) == 0


def test_pace_is_kept_and_counts_for_everybody(tmp_path: Path) -> None:
    clock = Clock()
    for number in range(4):
        Pace(tmp_path, clock.timing).enter("kds", 10, 100)
        assert sum(clock.slept) == 10 * number
    Pace(tmp_path, clock.timing).enter("kds", 0, 100)  # a question that needs no pace
    Pace(tmp_path, clock.timing).enter("pcs", 10, 100)  # another service
    assert sum(clock.slept) == 30
    with pytest.raises(FetchError, match="10 seconds until it may be asked again"):
        Pace(tmp_path, clock.timing).enter("kds", 10, 35)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"[]", b"{}", b'{"held":1e300,"paced":1e300}', b"9" * 900]
)
def test_damaged_pace_holds_nobody_up(tmp_path: Path, content: bytes) -> None:
    clock = Clock()
    (tmp_path / "kds").write_bytes(content)
    Pace(tmp_path, clock.timing).enter("kds", 10, 100)
    assert clock.slept == []
    Pace(tmp_path, clock.timing).enter("kds", 10, 100)
    assert clock.slept == [10]


_ENTER = """
import sys, time
from datetime import datetime, UTC
from pathlib import Path
from attestation.fetch.pace import Pace
from attestation.fetch.timing import Timing
timing = Timing(lambda: datetime.now(UTC), time.monotonic, time.sleep, lambda: 0.5)
for _ in range(4):
    Pace(Path(sys.argv[1]), timing).enter("kds", 0.1, time.monotonic() + 30)
    print(time.monotonic(), flush=True)
"""


def test_two_processes_together_keep_the_pace(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", _ENTER, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    moments = sorted(float(line) for one in running for line in one.communicate(timeout=60)[0].split())
    assert len(moments) == 8
    assert moments[-1] - moments[0] > 0.65


# Retry-After and addresses


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("999999999999999999999", 86400),
        ("Sun, 01 Jun 2025 00:01:00 GMT", 60),
        ("Sat, 31 May 2025 00:00:00 GMT", 0),
        ("Sun, 01 Jun 2053 00:00:00 GMT", 86400),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("\u0664", None),
        ("Sun, 99 Jun 2025 00:00:00 GMT", None),
        ("Sun, 01 Jun 2025 00:01:00", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry.seconds_of(text, datetime(2025, 6, 1, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kds.example.com",
        "ftp://kds.example.com",
        "https://",
        "https://user@kds.example.com",
        "https://kds.example.com/?a=b",
        "https://kds.example.com/#x",
        "https://kds.example.com:99999",
        "https://[::1",
        "https://kds.ex\u00e4mple.com",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_service_is_refused(text: str) -> None:
    with pytest.raises(FetchError, match="want a URL such as"):
        addresses.base(text)


def test_only_temporary_errors_are_retried(tmp_path: Path) -> None:
    clock, asked = Clock(), []

    def ask() -> None:
        asked.append(None)
        raise WrongAnswerError("x", "a", "b")

    with pytest.raises(WrongAnswerError):
        retry.patiently(ask, 100, clock.timing, Patience(), lambda _: None)
    assert (len(asked), clock.slept, list(tmp_path.iterdir())) == (1, [], [])
    assert issubclass(TemporaryError, FetchError)
    assert not issubclass(FetchError, AuthenticationError)


def test_real_time_passes_between_attempts(bench: Bench) -> None:
    """The clock that is turned elsewhere is the real one here."""
    timing = Timing(lambda: NOW, time.monotonic, time.sleep, lambda: 1.0)
    transport = HttpTransport(time.monotonic)
    fetcher = Fetcher(
        bench.store,
        Services(kds=bench.service.url),
        transport,
        bench.fetcher.pace,
        timing,
        Patience(total=5, attempt=0.2, first=0.1),
    )
    bench.service.failures += [lambda _question: time.sleep(0.4)]
    start = time.monotonic()
    assert fetcher.fetch(CHAIN)[1] is State.STORED
    assert 0.3 <= time.monotonic() - start < 2
    transport.close()
