from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from attestation.errors import PolicyError
from attestation.policy import load
from attestation.policy_file import UNCHECKED, locate
from tests.fakes.policies import STRICT, changed, policy, toml

EXAMPLES = Path(__file__).resolve().parents[2] / "attestation" / "examples"


def problems(values: dict[str, object]) -> dict[str, tuple[int, str, str]]:
    with pytest.raises(PolicyError) as caught:
        load(toml(values), "test.toml")
    return {problem.key: (problem.line, problem.found, problem.want) for problem in caught.value.problems}


def keys(values: dict[str, object], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


COMPONENTS = [key for key in keys(STRICT) if key.count(".") > 2]
KEYS = [key for key in keys(STRICT) if key not in COMPONENTS and key != "tcb.Milan"]
CANNOT_BE_UNCHECKED = {
    "tee",
    "boot",
    "max_clock_skew",
    "report",
    "guest_policy",
    "platform_info",
    "firmware",
    "mitigations",
    "report.measurement",
}


@pytest.mark.parametrize("name", ["policy-snp.toml", "policy-simulated.toml"])
def test_examples_are_policies(name: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert load(text, name).tee == name.removeprefix("policy-").removesuffix(".toml")


@pytest.mark.parametrize("name", ["policy-snp.toml", "policy-simulated.toml"])
def test_examples_explain_every_key(name: str) -> None:
    lines = (EXAMPLES / name).read_text().splitlines()
    seen = {line.partition("=")[0].strip() for line in lines if "=" in line and "#" in line}
    assert seen >= {key.rpartition(".")[2] for key in KEYS if key not in {"tcb", "report"}} - {
        "guest_policy",
        "platform_info",
        "firmware",
        "mitigations",
    }


@pytest.mark.parametrize("key", KEYS)
def test_no_key_has_a_default(key: str) -> None:
    found = problems(changed(key, None))
    assert found[key][1:] == ("nothing", "this key")
    assert set(found) == {key}


@pytest.mark.parametrize("key", [key for key in KEYS if key not in CANNOT_BE_UNCHECKED])
def test_every_check_can_be_left_out_by_name(key: str) -> None:
    assert key in policy(changed(key, "unchecked")).unchecked


@pytest.mark.parametrize("key", sorted(CANNOT_BE_UNCHECKED))
def test_what_everything_rests_on_cannot_be_left_out(key: str) -> None:
    assert key in problems(changed(key, "unchecked"))


@pytest.mark.parametrize("key", ["extra", "report.extra", "firmware.debug", "tcb.Rome", "tcb.Milan.extra"])
def test_unknown_key_is_an_error(key: str) -> None:
    assert problems(changed(key, "unchecked"))[key][1] == "an unknown key"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tee", "sev"),
        ("tee", 1),
        ("boot", "vtpm"),
        ("boot", "simulated"),
        ("binding", "kbs"),
        ("max_clock_skew", -1),
        ("max_clock_skew", 86401),
        ("max_clock_skew", True),
        ("max_clock_skew", "300"),
        ("crl", "optional"),
        ("crl", True),
        ("report", []),
        ("report.measurement", []),
        ("report.measurement", "00" * 48),
        ("report.measurement", ["00" * 48]),
        ("report.measurement", [{"digest": "00" * 47, "label": ""}]),
        ("report.measurement", [{"digest": "00" * 48}]),
        ("report.measurement", [{"digest": "00" * 48, "label": 1}]),
        ("report.measurement", [{"digest": "00" * 48, "label": "", "extra": 1}]),
        ("report.signer", "VCEK"),
        ("report.vmpl", 0),
        ("report.vmpl", []),
        ("report.vmpl", [4]),
        ("report.vmpl", ["0"]),
        ("report.vmpl", "host"),
        ("report.vmpl", ["hosts"]),
        ("report.vmpl", [0xFFFFFFFF]),
        ("report.guest_svn", -1),
        ("report.guest_svn", 1 << 32),
        ("report.host_data", "00" * 32),
        ("report.host_data", ["00" * 31]),
        ("report.host_data", ["zz" * 32]),
        ("report.host_data", [" " * 64]),
        ("report.family_id", ["00" * 32]),
        ("report.chip_id", ["00" * 16]),
        ("report.csp_id", [1]),
        ("report.csp_id", []),
        ("guest_policy.abi", "1"),
        ("guest_policy.abi", "1.256"),
        ("guest_policy.abi", 1),
        ("guest_policy.debug", False),
        ("guest_policy.debug", "allowed"),
        ("guest_policy.reserved", "set"),
        ("platform_info.smt_en", "on"),
        ("firmware.current", "1.55"),
        ("firmware.current", "1.55.256"),
        ("firmware.provisional", "allowed"),
        ("mitigations.launch", -1),
        ("mitigations.launch", "0x3"),
        ("tcb", 1),
        ("tcb", {}),
        ("tcb.Milan.reported", {}),
        ("tcb.Milan.reported", {"bootloader": 4, "tee": 0, "snp": 24}),
        ("tcb.Milan.reported", {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 256}),
        ("tcb.Milan.reported", {"bootloader": 4, "tee": 0, "snp": 24, "microcode": 1, "fmc": 0}),
    ],
)
def test_value_that_is_none_is_an_error(key: str, value: object) -> None:
    assert key in problems(changed(key, value))


def test_everything_is_said_at_once_with_its_line() -> None:
    values = changed("report.vmpl", [9])
    values = changed("extra", 1, values)
    values = changed("firmware.current", None, values)
    found = problems(values)
    assert set(found) == {"report.vmpl", "extra", "firmware.current"}
    lines = toml(values).splitlines()
    assert lines[found["report.vmpl"][0] - 1].startswith("vmpl")
    assert lines[found["extra"][0] - 1].startswith("extra")
    assert lines[found["firmware.current"][0] - 1] == "[firmware]"


def test_message_is_one_line_per_problem_in_order() -> None:
    with pytest.raises(PolicyError) as caught:
        load(toml(changed("report.vmpl", [9], changed("tee", "sev"))), "policy.toml")
    first, second = str(caught.value).splitlines()
    assert (
        first
        == 'policy.toml:1: tee: found \'sev\', want "snp" or "tdx" or "sgx" or "azure-snp" or "azure-tdx" or "cca" or "nitro" or "nvidia" or "tpm" or "simulated"'
    )
    assert second.endswith('report.vmpl: found 9, want an integer of 0 to 3 or "host", or "unchecked"')
    assert caught.value.exit_code == 2


def test_a_number_that_python_does_not_read() -> None:
    with pytest.raises(PolicyError):
        load(f"a = {'9' * 5000}", "p.toml")


@pytest.mark.parametrize("line", [" " * 50_000 + "x", f"[{' ' * 50_000}x", f"a{' ' * 50_000}x", "[" * 50_000])
def test_lines_are_found_in_time_that_grows_with_the_text(line: str) -> None:
    text = f'a = """\n{line}\n"""\n[ b . "c" ] # d\n\t"e" \t= 1\n'
    assert locate(text)["b.c.e"] == 5


def test_text_that_is_no_toml_names_the_line() -> None:
    with pytest.raises(PolicyError) as caught:
        load('tee = "snp"\nboot = \n', "policy.toml")
    assert caught.value.problems[0].line == 2


def test_policy_for_hardware_never_accepts_the_simulation_and_the_other_way_round() -> None:
    simulated = changed("tee", "simulated")
    assert "boot" in problems(simulated)
    assert "tcb.Milan" in problems(changed("boot", "simulated", simulated))


def test_loading_changes_nothing_and_depends_only_on_the_text() -> None:
    before = copy.deepcopy(STRICT)
    assert policy() == policy()
    assert before == STRICT
    assert policy().rules.chip_id is UNCHECKED


@given(st.text(max_size=200))
def test_only_our_error_escapes_from_anything(text: str) -> None:
    try:
        load(text, "x")
    except PolicyError as error:
        assert error.problems  # a property, not an expectation


@given(st.sampled_from(KEYS), st.none() | st.booleans() | st.integers() | st.text("ab[]=", max_size=5))
def test_only_our_error_escapes_from_wrong_values(key: str, value: object) -> None:
    try:
        load(toml(changed(key, value)), "x")
    except PolicyError as error:
        assert error.problems  # a property, not an expectation


def test_deep_nesting_is_an_error_of_the_policy() -> None:
    with pytest.raises(PolicyError):
        load("a = " + "[" * 100_000, "x")


@pytest.mark.parametrize("depth", [17, 2000])
def test_tables_that_are_nested_too_deep_are_an_error_of_the_policy(depth: int) -> None:
    for text in (f"{'.'.join('a' * depth)} = 1", f"a = {'[' * depth}{']' * depth}"):
        with pytest.raises(PolicyError) as caught:
            load(text, "deep")
        assert [problem.key for problem in caught.value.problems] == ["TOML"]
    with pytest.raises(PolicyError) as caught:
        load(f"{'.'.join('a' * 16)} = 1", "flat")
    assert "TOML" not in {problem.key for problem in caught.value.problems}


def test_many_problems_take_no_longer_each() -> None:
    started = time.process_time()
    with pytest.raises(PolicyError) as caught:
        load("\n".join(f"a{number} = 1" for number in range(20000)), "many")
    assert len(caught.value.problems) > 20000
    assert time.process_time() - started < 8
