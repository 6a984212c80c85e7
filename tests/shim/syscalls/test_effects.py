"""Every call has a group, a risk and a phrase, and the risks are those that others' lists say."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from shim.syscalls import table
from shim.syscalls.effects import EFFECTS, GROUPS, Risk
from shim.syscalls.effects_table import ROWS

NAMES = set(table("x86_64").numbers)

# moby, profiles/seccomp/default.json: what is allowed only together with a capability, CAP_SYS_NICE aside,
# and what is restricted by argument instead (clone, clone3) aside.
WITH_CAPABILITY = [
    "open_by_handle_at",
    "bpf",
    "fanotify_init",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "lookup_dcookie",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    "setdomainname",
    "sethostname",
    "setns",
    "syslog",
    "umount2",
    "unshare",
    "reboot",
    "chroot",
    "delete_module",
    "init_module",
    "finit_module",
    "acct",
    "kcmp",
    "pidfd_getfd",
    "process_madvise",
    "process_vm_readv",
    "process_vm_writev",
    "ptrace",
    "iopl",
    "ioperm",
    "settimeofday",
    "clock_settime",
    "vhangup",
]
CRITICAL_SETS = ("@clock", "@debug", "@module", "@mount", "@raw-io", "@reboot", "@swap")
HIGH_SETS = ("@chown", "@cpu-emulation", "@keyring", "@setuid", "@privileged")


def test_every_call_of_the_table_has_one_effect() -> None:
    assert set(EFFECTS) == NAMES
    listed = [line.split()[0] for line in ROWS.splitlines() if line and not line.startswith("[")]
    assert len(set(listed)) == len(listed)


def test_every_group_has_calls_and_every_call_a_group() -> None:
    keys = [group.key for group in GROUPS]
    assert len(set(keys)) == len(keys)
    assert {effect.group for effect in EFFECTS.values()} == set(keys)


def test_phrases_are_short_and_plain() -> None:
    for name, effect in EFFECTS.items():
        assert 3 <= len(effect.summary) <= 60, name
        assert not effect.summary.endswith("."), name


def test_what_docker_ties_to_a_capability_is_critical() -> None:
    assert {name for name in WITH_CAPABILITY if EFFECTS[name].risk != Risk.CRITICAL} == set()


def test_what_runs_code_or_hides_from_filters_is_high() -> None:
    for name in (
        "execve",
        "execveat",
        "io_uring_setup",
        "io_uring_enter",
        "userfaultfd",
        "personality",
        "mknod",
    ):
        assert EFFECTS[name].risk >= Risk.HIGH


def systemd_sets() -> dict[str, set[str]]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    text = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter"],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    ).stdout
    sets: dict[str, set[str]] = {}
    for line in text.splitlines():
        if line.startswith("@"):
            members = sets.setdefault(line.strip(), set())
        elif line.startswith("    ") and not line.strip().startswith("#"):
            members.add(line.strip())
    return sets


def members(sets: dict[str, set[str]], names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for name in names:
        for member in sets[name]:
            found |= members(sets, (member,)) if member.startswith("@") else {member}
    return {name for name in found & NAMES if EFFECTS[name].group != "obsolete"}


def test_risks_are_those_of_systemds_sets() -> None:
    sets = systemd_sets()
    assert {name for name in members(sets, CRITICAL_SETS) if EFFECTS[name].risk != Risk.CRITICAL} == set()
    assert {name for name in members(sets, HIGH_SETS) if EFFECTS[name].risk < Risk.HIGH} == set()


def test_what_is_critical_is_so_for_a_reason() -> None:
    reasons = {*WITH_CAPABILITY, *members(systemd_sets(), CRITICAL_SETS), "open_tree_attr"}  # as open_tree
    assert {name for name, effect in EFFECTS.items() if effect.risk == Risk.CRITICAL} - reasons == set()
