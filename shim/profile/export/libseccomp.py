"""
How does a program written in C enforce a profile on itself?

One C file with one function, `profile_filter`, which returns a libseccomp context: load it with
`seccomp_load`, or write it out with `seccomp_export_bpf`.  Calls go by number, so that it compiles and works
with a libseccomp that has not heard of their names.  As in our own filter allowed calls pass, known others
kill the process, unknown numbers get ENOSYS, other architectures and x32 kill.

What libseccomp cannot say, and what happens instead:

- phases: one filter, the union of all phases;
- "else kill" for a call that is allowed with certain arguments only: such a call gets ENOSYS with others;
- two tests of one argument in one rule, or comparisons beside other alternatives: `plain_tests` rewrites
  them, or refuses;
- calls from certain addresses only (libseccomp#113).

Source: libseccomp 2.5, seccomp_rule_add(3), seccomp_attr_set(3).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shim.profile.export.comments import header_lines
from shim.profile.export.plain_tests import plain_tests
from shim.profile.export.rules import exported_rules, refused_names
from shim.profile.profile import ArgumentCondition, Operator, Profile, SyscallRule
from shim.syscalls import table

_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "__x86_64__"),
    "aarch64": ("SCMP_ARCH_AARCH64", "__aarch64__"),
}
_OPERATORS: dict[Operator, str] = {
    "eq": "SCMP_CMP_EQ",
    "ne": "SCMP_CMP_NE",
    "lt": "SCMP_CMP_LT",
    "le": "SCMP_CMP_LE",
    "gt": "SCMP_CMP_GT",
    "ge": "SCMP_CMP_GE",
    "masked_eq": "SCMP_CMP_MASKED_EQ",
}

_TEMPLATE = """\
/*
{header}
 *
 * Link with -lseccomp.  Before seccomp_load the caller sets no_new_privs, or lets libseccomp do so.
 * To start another program under the filter, allow execve as well.
 */
#include <errno.h>
#include <seccomp.h>
#include <stddef.h>

#ifndef {macro}
#error "this filter is for {arch}"
#endif

struct conditional {{
	int number;
	unsigned int count;
	struct scmp_arg_cmp tests[6];
}};

/* Each list ends with -1, which is no syscall. */
static const int allowed[] = {{
{allowed}	-1
}};

static const struct conditional conditional[] = {{
{conditional}	{{ -1, 0, {{ {{ 0, SCMP_CMP_EQ, 0, 0 }} }} }}
}};

/* Known calls that the program does not need; numbers unknown here get ENOSYS. */
static const int refused[] = {{
{refused}	-1
}};

static int add_rules(scmp_filter_ctx filter)
{{
	const struct conditional *rule;
	const int *number;
	int status;

	/* An alternative that another one contains is EEXIST. */
	for (rule = conditional; rule->number >= 0; rule++) {{
		status = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rule->number, rule->count, rule->tests);
		if (status < 0 && status != -EEXIST)
			return status;
	}}
	for (number = allowed; *number >= 0; number++) {{
		status = seccomp_rule_add(filter, SCMP_ACT_ALLOW, *number, 0);
		if (status < 0)
			return status;
	}}
	for (number = refused; *number >= 0; number++) {{
		status = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, *number, 0);
		if (status < 0)
			return status;
	}}
	return 0;
}}

/* Returns the filter, for seccomp_load and seccomp_release; NULL with errno if it cannot be made. */
scmp_filter_ctx profile_filter(void);

scmp_filter_ctx profile_filter(void)
{{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int status;

	if (filter == NULL) {{
		errno = ENOMEM;
		return NULL;
	}}
	status = seccomp_arch_exist(filter, {scmp_arch});
	if (status == 0)
		status = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (status == 0)
		status = add_rules(filter);
	if (status < 0) {{
		seccomp_release(filter);
		errno = -status;
		return NULL;
	}}
	return filter;
}}
"""


def libseccomp(profile: Profile) -> str:
    """
    Return the C source, C99; equal profiles give equal text.

    Raises:
        ProfileError: conditions that libseccomp cannot say.

    Not checked:
        That the profile is complete: ask `profile.complete` first.
    """
    syscalls = table(profile.arch)
    rules = plain_tests(exported_rules(profile))
    scmp_arch, macro = _ARCHITECTURES[profile.arch]
    refused = refused_names(rules, syscalls)
    return _TEMPLATE.format(
        header="\n".join(f" * {line}" for line in header_lines(profile)),
        macro=macro,
        arch=profile.arch,
        scmp_arch=scmp_arch,
        allowed=_numbers((rule.number, rule.name) for rule in rules if not rule.conditions),
        conditional="".join(_conditional(rule) for rule in rules),
        refused=_numbers((syscalls.number(name), name) for name in refused),
    )


def _numbers(calls: Iterable[tuple[int, str]]) -> str:
    return "".join(f"\t{number}, /* {name} */\n" for number, name in calls)


def _conditional(rule: SyscallRule) -> str:
    return "".join(
        f"\t{{ {rule.number}, {len(tests)}, {{ {_tests(tests)} }} }}, /* {rule.name} */\n"
        for tests in rule.conditions
    )


def _tests(conjunction: Sequence[ArgumentCondition]) -> str:
    return ", ".join(_test(condition) for condition in conjunction)


def _test(condition: ArgumentCondition) -> str:
    """Return a `struct scmp_arg_cmp`: for masked_eq the mask comes first, then the value."""
    index, operator = condition.index, _OPERATORS[condition.operator]
    if condition.operator == "masked_eq":
        return f"{{ {index}, {operator}, {condition.mask:#x}ULL, {condition.value:#x}ULL }}"
    return f"{{ {index}, {operator}, {condition.value:#x}ULL, 0 }}"
