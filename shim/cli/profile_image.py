"""`shim profile IMAGE`: what has a container runtime to allow around an image of shim build?"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from shim.cli.profile_many import Job
    from shim.launch.outer import Outer
    from shim.launch.plan import LaunchPlan

# Of these formats the documents have no place for another answer than to kill.
_ONLY_KILL = frozenset({"spo", "systemd", "libseccomp", "bpf", "bwrap"})


@dataclass(frozen=True, slots=True)
class ImageProfile:
    """
    The outer profile of an image, and what is said of it.

    Attributes:
        outer: What has to be allowed.
        plan: What is launched inside.
        lines: For standard error.
    """

    outer: Outer
    plan: LaunchPlan
    lines: tuple[str, ...]


def image_profile(job: Job) -> ImageProfile:
    """
    Return what a runtime has to allow around the image that a job names.

    Raises:
        UsageError: options that are for programs.
        ShimError: no image of shim build, one that the policy refuses, or a plan that no filter fits around.
    """
    from shim.cli.image_parts import LAUNCHER, launched_image, not_vouched, vouched
    from shim.cli.profile_cache import cached_profile
    from shim.launch.outer import outer
    from shim.launch.plan_codec import decode

    _refuse_options(job)
    layout, result = vouched(job.program, job.image_policy, job.image_bundles)
    image = launched_image(layout, os.uname().machine, alone=True)
    plan = decode(image.plan)
    launcher = cached_profile(image.launcher, LAUNCHER, job.cache, job.request)
    said = () if result is not None else (not_vouched(layout),)
    return ImageProfile(outer(launcher, plan), plan, said)


def written(found: ImageProfile, form: str) -> bytes:
    """
    Return the outer filter of an image in a format.

    Those of container engines have what the engine itself calls until the launcher is there.

    Raises:
        ProfileError: conditions that the format cannot say, or a plan whose refusals it cannot repeat.
        FilterError: the filter has more instructions than the kernel takes.
    """
    from shim.errors import ProfileError
    from shim.launch.plan import PlanFlag
    from shim.profile.codec import dumps

    profile = found.outer.profile
    fails = bool(found.plan.flags & PlanFlag.ERRNO)
    if fails and form in _ONLY_KILL:
        where = f"--format {form}"
        raise ProfileError(where, "a plan whose refused calls fail (--on-violation errno)", "oci or docker")
    if form == "json":
        return dumps(profile) + b"\n"
    if form == "table":
        return _table(found).encode()
    if form in ("oci", "docker"):
        from shim.profile.export.oci import oci

        return oci(profile, refused="errno" if fails else "kill", runtime_calls=True).encode()
    if form == "spo":
        from shim.profile.export.spo import spo

        return spo(profile, name=found.plan.program.decode(errors="replace")).encode()
    from shim.cli import formats

    return formats.write(profile, form)


def _refuse_options(job: Job) -> None:
    asked = job.request
    given = {
        "--root": asked.root != "/",
        "--modules": bool(asked.modules),
        "--assume": bool(asked.assume),
        "--no-assumptions": asked.plain,
        "--merge": job.merged,
        "--why": job.why,
    }
    for option, is_given in given.items():
        if is_given:
            raise click.UsageError(
                f"{job.program}: found {option} beside an image, want none: its plan says what it may do"
            )


def _table(found: ImageProfile) -> str:
    """Return who needs which call, in columns, for people."""
    outer, profile = found.outer, found.outer.profile
    rules = profile.phases[0].rules
    width = max(len(rule.name) for rule in rules)
    lines = [f"{'syscall':{width}}   nr  needed by"]
    for rule in rules:
        who = [
            name
            for name, numbers in (("launcher", outer.launcher), ("program", outer.program))
            if rule.number in numbers
        ]
        some = ", with certain arguments" if rule.conditions else ""
        lines.append(f"{rule.name:{width}}  {rule.number:>3}  {' and '.join(who)}{some}")
    program = profile.objects[-1]
    lines += [
        "",
        f"launcher: {len(outer.launcher)} calls, sha256 {profile.program.sha256}",
        f"program: {program.path}, {len(outer.program)} calls by its plan, sha256 {program.sha256}",
        f"around both: {len(rules)} calls; inside, the program has only its own",
    ]
    return "\n".join(lines) + "\n"
