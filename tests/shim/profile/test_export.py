"""Exports say what the profile says, in the words of the format, or refuse."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import json
import os
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from shim.errors import ProfileError
from shim.filter import FilterProgram, SeccompData, compile_filter, simulate
from shim.filter.actions import ALLOW, ENOSYS_ACTION, KILL_PROCESS
from shim.profile import rules_from
from shim.profile.export import FORMATS
from shim.profile.export.names import names
from shim.profile.export.oci import RUNTIME_CALLS, Refused, oci
from shim.profile.export.spo import resource_name, spo
from shim.profile.export.systemd import systemd
from shim.profile.profile import AnalysedObject, ArgumentCondition, Operator, Phase, Profile, SyscallRule
from shim.syscalls import table

X86_64 = table("x86_64")
ALL_BITS = 2**64 - 1


def of_rules(rules: list[SyscallRule]) -> Profile:
    phase = Phase("main", None, tuple(sorted(rules, key=lambda rule: rule.number)))
    return Profile("x86_64", (AnalysedObject("p", "00" * 32, ""),), (phase,), (), (), (), "0")


def test_names_are_those_of_all_phases(profile: Profile) -> None:
    assert names(profile) == "ioctl\nmmap\nread\nwrite\n"


def test_every_format_writes(profile: Profile) -> None:
    for name, known in FORMATS.items():
        assert known.summary
        if name != "spo":  # it has no values of 64 bits
            assert known.write(profile)
            assert known.write(profile) == known.write(replace(profile))


def test_the_operator_gets_no_value_that_its_integers_cannot_hold(profile: Profile) -> None:
    with pytest.raises(ProfileError, match="below 2\\*\\*63") as caught:
        FORMATS["spo"].write(profile)
    assert caught.value.where == "conditions of ioctl"


HOSTILE = "/bin/x*/\n#include </etc/passwd>\\\nExecStart=/bin/evil\r\u2028kind: Pod"


@pytest.mark.parametrize("name", ["systemd", "spo", "libseccomp"])
def test_a_path_cannot_leave_its_comment(name: str) -> None:
    plain = of_rules([SyscallRule(0, "read")])
    hostile = replace(plain, objects=(AnalysedObject(HOSTILE, "00" * 32, ""),), tool_version="1\n*/ x")
    lines, named = (FORMATS[name].write(p).splitlines() for p in (plain, hostile))
    assert len(lines) == len(named)
    changed = [line for line, before in zip(named, lines, strict=True) if line != before]
    assert changed
    for line in changed:
        assert line.startswith(("# ", " * ", "  name: ")), line
        assert "*/" not in line
        assert not line.endswith("\\")


def test_the_resource_of_the_operator() -> None:
    tame = SyscallRule(16, "ioctl", ((ArgumentCondition(1, "masked_eq", 0x5401, 0xFFFF_FFFF),),))
    text = spo(of_rules([tame, SyscallRule(0, "read")]))
    lines = text.splitlines()
    assert "apiVersion: security-profiles-operator.x-k8s.io/v1beta1" in lines
    assert "kind: SeccompProfile" in lines
    assert '  name: "p"' in lines
    start = lines.index("    - ioctl")
    assert lines[start - 2 : start + 6] == [
        "  - action: SCMP_ACT_ALLOW",
        "    names:",
        "    - ioctl",
        "    args:",
        "    - index: 1",
        "      op: SCMP_CMP_MASKED_EQ",
        "      value: 4294967295",
        "      valueTwo: 21505",
    ]
    assert set(RUNTIME_CALLS) <= {line.removeprefix("    - ") for line in lines}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/usr/bin/busybox", "busybox"),
        ("/bin/[", "program"),
        ("./My Program_2.0", "my-program-2-0"),
        ("-", "program"),
        ("/x/" + "a" * 80, "a" * 63),
    ],
)
def test_names_of_resources_are_those_of_kubernetes(path: str, name: str) -> None:
    assert resource_name(path) == name


def test_the_drop_in_says_the_whole_truth(profile: Profile) -> None:
    lines = systemd(profile).splitlines()
    values = [
        line.removeprefix("SystemCallFilter=") for line in lines if line.startswith("SystemCallFilter=")
    ]
    assert values[0] == ""
    allowed = {word for value in values[1:] if not value.startswith("~") for word in value.split()}
    killed = {word for value in values if value.startswith("~") for word in value[1:].split()}
    assert allowed == {"read", "write", "mmap", "ioctl", "execve"}
    assert all(word.endswith(":kill") for word in killed)
    names = {word.removesuffix(":kill") for word in killed}
    assert names | allowed | {"execveat"} == set(X86_64.numbers)
    assert not names & allowed
    assert "SystemCallErrorNumber=ENOSYS" in lines
    assert "# Allowed with any arguments, the profile is narrower: ioctl." in lines
    assert "# Needed by systemd to start the program: execve." in lines
    assert max(len(line) for line in lines) < 2048


def test_the_union_of_the_phases(profile: Profile) -> None:
    everything = {rule.name: rule for rule in rules_from(profile, 0)}
    assert sorted(everything) == ["ioctl", "mmap", "read", "write"]
    assert everything["mmap"].conditions == ()
    assert len(everything["ioctl"].conditions) == 2
    assert rules_from(profile, 1) == profile.phases[1].rules
    for phase in (-1, 2):
        with pytest.raises(IndexError):
            rules_from(profile, phase)


def test_the_oci_document_has_the_fields_of_the_runtime_specification(profile: Profile) -> None:
    document = json.loads(oci(profile))
    assert set(document) == {"defaultAction", "defaultErrnoRet", "architectures", "syscalls"}
    assert (document["defaultAction"], document["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    assert document["architectures"] == ["SCMP_ARCH_X86_64"]
    for entry in document["syscalls"]:
        assert set(entry) <= {"names", "action", "errnoRet", "args"}
        for argument in entry.get("args", []):
            assert set(argument) <= {"index", "value", "valueTwo", "op"}


def test_every_known_call_is_either_allowed_or_refused(profile: Profile) -> None:
    entries = json.loads(oci(profile))["syscalls"]
    allowed = {name for entry in entries if entry["action"] == "SCMP_ACT_ALLOW" for name in entry["names"]}
    refused = {name for entry in entries if entry["action"] != "SCMP_ACT_ALLOW" for name in entry["names"]}
    assert allowed == {"read", "write", "mmap", "ioctl"}
    assert not allowed & refused
    assert allowed | refused == set(X86_64.numbers)


@pytest.mark.parametrize(
    ("refused", "entry"),
    [
        ("kill", {"action": "SCMP_ACT_KILL_PROCESS"}),
        ("errno", {"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM}),
        ("log", {"action": "SCMP_ACT_LOG"}),
    ],
)
def test_what_refused_calls_get(profile: Profile, refused: Refused, entry: dict[str, object]) -> None:
    last = json.loads(oci(profile, refused=refused))["syscalls"][-1]
    assert {key: value for key, value in last.items() if key != "names"} == entry


def test_a_mask_stands_first_in_the_oci_format() -> None:
    rule = SyscallRule(16, "ioctl", ((ArgumentCondition(1, "masked_eq", 0x5401, ALL_BITS),),))
    entry = json.loads(oci(of_rules([rule])))["syscalls"][0]
    assert entry["args"] == [{"index": 1, "value": ALL_BITS, "valueTwo": 0x5401, "op": "SCMP_CMP_MASKED_EQ"}]


def test_the_runtimes_own_calls_are_added_on_request() -> None:
    profile = of_rules([SyscallRule(59, "execve", ((ArgumentCondition(0, "eq", 1),),))])
    assert set(RUNTIME_CALLS) <= set(X86_64.numbers)
    allowed = json.loads(oci(profile, runtime_calls=True))["syscalls"][0]
    assert allowed["names"] == sorted(RUNTIME_CALLS, key=X86_64.number)
    assert json.loads(FORMATS["docker"].write(profile)) == json.loads(oci(profile, runtime_calls=True))


def test_two_tests_of_one_argument_become_rules_with_one() -> None:
    between = (ArgumentCondition(1, "ge", 3), ArgumentCondition(1, "le", 5))
    entries = json.loads(oci(of_rules([SyscallRule(16, "ioctl", (between,))])))["syscalls"]
    assert [entry["args"] for entry in entries if entry["names"] == ["ioctl"]] == [
        [{"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}],
        [{"index": 1, "value": ALL_BITS - 1, "valueTwo": 4, "op": "SCMP_CMP_MASKED_EQ"}],
    ]


def test_two_tests_of_one_argument_are_refused_where_that_cannot_be_done() -> None:
    hard = (ArgumentCondition(1, "ge", 3), ArgumentCondition(1, "masked_eq", 0, 4))
    for write in (FORMATS["oci"].write, FORMATS["spo"].write, FORMATS["libseccomp"].write):
        with pytest.raises(ProfileError) as caught:
            write(of_rules([SyscallRule(16, "ioctl", (hard,))]))
        assert caught.value.where == "conditions of ioctl"


def test_a_rule_that_nothing_satisfies_is_refused_and_not_unconditional() -> None:
    never = (ArgumentCondition(1, "eq", 3), ArgumentCondition(1, "eq", 5))
    entries = json.loads(oci(of_rules([SyscallRule(16, "ioctl", (never,))])))["syscalls"]
    assert [entry["action"] for entry in entries if "ioctl" in entry["names"]] == ["SCMP_ACT_KILL_PROCESS"]


class Libseccomp:
    """What runc does with the document: the library's rules, then the filter that it makes of them."""

    OPERATORS: ClassVar = {
        name: value for value, name in enumerate(("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"), 1)
    }
    ACTIONS: ClassVar = {"SCMP_ACT_ALLOW": ALLOW, "SCMP_ACT_KILL_PROCESS": KILL_PROCESS}

    class Comparison(ctypes.Structure):
        _fields_: ClassVar = [
            ("arg", ctypes.c_uint),
            ("op", ctypes.c_int),
            ("a", ctypes.c_uint64),
            ("b", ctypes.c_uint64),
        ]

    def __init__(self, path: str) -> None:
        self.library = ctypes.CDLL(path)
        self.library.seccomp_init.restype = ctypes.c_void_p
        self.library.seccomp_init.argtypes = [ctypes.c_uint32]
        self.library.seccomp_release.argtypes = [ctypes.c_void_p]
        self.library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.library.seccomp_rule_add_array.argtypes = [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_void_p,
        ]

    def knows(self, name: str) -> bool:
        return self.library.seccomp_syscall_resolve_name(name.encode()) >= 0

    def filter_of(self, document: dict[str, Any]) -> FilterProgram:
        context = self.library.seccomp_init(self.action("SCMP_ACT_ERRNO", document["defaultErrnoRet"]))
        for entry in document["syscalls"]:
            action = self.action(entry["action"], entry.get("errnoRet", 0))
            for name in filter(self.knows, entry["names"]):
                self.add(context, action, name, entry.get("args", []))
        reading, writing = os.pipe()
        try:
            assert self.library.seccomp_export_bpf(context, writing) == 0
        finally:
            os.close(writing)
            self.library.seccomp_release(context)
        with os.fdopen(reading, "rb") as pipe:
            return FilterProgram.decode(pipe.read())

    def action(self, name: str, number: int) -> int:
        return self.ACTIONS.get(name, 0x0005_0000 | number)

    def add(self, context: int, action: int, name: str, arguments: list[dict[str, Any]]) -> None:
        comparisons = (self.Comparison * max(len(arguments), 1))(
            *(
                self.Comparison(
                    a["index"],
                    self.OPERATORS[a["op"].removeprefix("SCMP_CMP_")],
                    a["value"],
                    a.get("valueTwo", 0),
                )
                for a in arguments
            )
        )
        number = self.library.seccomp_syscall_resolve_name(name.encode())
        status = self.library.seccomp_rule_add_array(context, action, number, len(arguments), comparisons)
        assert status in (0, -errno.EEXIST), (name, status)


@pytest.fixture(scope="module")
def libseccomp() -> Libseccomp:
    path = ctypes.util.find_library("seccomp")
    if path is None:
        pytest.skip("libseccomp is not installed")
    return Libseccomp(path)


values = st.one_of(st.integers(0, 4), st.sampled_from([2**32 - 1, 2**32, 2**63, ALL_BITS]))
condition = st.one_of(
    st.builds(
        ArgumentCondition, st.integers(0, 5), st.sampled_from(["eq", "ne", "lt", "le", "gt", "ge"]), values
    ),
    st.builds(lambda i, v, m: ArgumentCondition(i, "masked_eq", v & m, m), st.integers(0, 5), values, values),
)
conjunctions = st.lists(condition, min_size=1, max_size=2, unique_by=lambda c: c.index).map(tuple)
rule_lists = st.lists(
    st.builds(
        lambda named, conditions: SyscallRule(named[1], named[0], conditions),
        st.sampled_from([item for item in sorted(X86_64.numbers.items()) if item[1] < 400]),
        st.one_of(st.just(()), st.lists(conjunctions, max_size=3).map(tuple)),
    ),
    max_size=8,
    unique_by=lambda rule: rule.number,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules=rule_lists, data=st.data())
def test_libseccomp_understands_the_export_as_our_filter(
    rules: list[SyscallRule], data: st.DataObject, libseccomp: Libseccomp
) -> None:
    try:
        document = json.loads(oci(of_rules(rules)))
    except ProfileError as error:
        assert "too many alternatives" in error.found
        assume(False)
    theirs = libseccomp.filter_of(document)
    ours = compile_filter(rules, X86_64)
    # a condition that never holds leaves no entry
    conditional = {
        X86_64.number(name) for entry in document["syscalls"] if entry.get("args") for name in entry["names"]
    }
    for _ in range(10):
        number = data.draw(
            st.one_of(
                st.sampled_from(sorted(X86_64)), st.sampled_from([rule.number for rule in rules] or [0])
            )
        )
        if not libseccomp.knows(X86_64.names[number]):
            continue
        call = SeccompData(number, X86_64.audit_arch, 0, data.draw(st.tuples(*[values] * 6)))
        want = simulate(ours, call).action
        if want == KILL_PROCESS and number in conditional:
            want = ENOSYS_ACTION  # the format has no "else" for a conditional call
        assert simulate(theirs, call).action == want


def one(index: int, operator: Operator, value: int) -> tuple[ArgumentCondition, ...]:
    return (ArgumentCondition(index, operator, value),)


@pytest.mark.parametrize(
    "alternatives",
    [
        (one(1, "lt", 3), one(1, "lt", 2**32 + 1)),
        (one(2, "gt", 2**32), one(2, "lt", 2**32 - 1)),
        (one(0, "eq", 0), one(1, "lt", 0), one(1, "lt", 2**32)),
        ((*one(0, "le", 2**63), *one(1, "ge", 5)), (*one(0, "gt", 4), *one(1, "le", 3))),
    ],
)
def test_alternatives_of_which_libseccomp_makes_wrong_filters(
    alternatives: tuple[tuple[ArgumentCondition, ...], ...], libseccomp: Libseccomp
) -> None:
    rule = SyscallRule(21, "access", alternatives)
    theirs = libseccomp.filter_of(json.loads(oci(of_rules([rule]))))
    ours = compile_filter([rule], X86_64)
    numbers = [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        2**32 - 2,
        2**32 - 1,
        2**32,
        2**32 + 1,
        2**32 + 2,
        2**63,
        2**63 + 1,
        ALL_BITS,
    ]
    for first in numbers:
        for second in numbers:
            for third in numbers[::4] if alternatives[0][0].index == 2 else [0]:
                call = SeccompData(21, X86_64.audit_arch, 0, (first, second, third, 0, 0, 0))
                assert (simulate(theirs, call).action == ALLOW) == (simulate(ours, call).action == ALLOW)


def test_an_export_does_not_depend_on_the_order_of_phases_rules(profile: Profile) -> None:
    assert oci(profile) == oci(replace(profile, phases=tuple(profile.phases)))
