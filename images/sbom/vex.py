"""
Which vulnerabilities are in an image, and which cannot be reached there: an OpenVEX document.

Every record leads to a statement, or is named among those that were left out with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from images.packages.package import Inventory, Package
from images.sbom.absence import left_behind, machine_code, unaccounted
from images.sbom.affected import Answer, evaluate, meant
from images.sbom.osv import Affected, Record, Symbols
from images.sbom.purl import package_url
from images.sbom.reachable import Proved, Reachability, Unproved
from images.sbom.subject import Subject
from shim.canonical import JsonValue, canonical_bytes, sha256_hex
from shim.profile.execute_path import ExecutePath

SOURCE = "OpenVEX specification 0.2.0"
CONTEXT = "https://openvex.dev/ns/v0.2.0"


class Status(StrEnum):
    """What is said of a vulnerability in a product."""

    NOT_AFFECTED = "not_affected"
    FIXED = "fixed"
    UNDER_INVESTIGATION = "under_investigation"


NOT_PRESENT = "component_not_present"
CODE_NOT_PRESENT = "vulnerable_code_not_present"
NOT_IN_PATH = "vulnerable_code_not_in_execute_path"


@dataclass(frozen=True, slots=True, order=True)
class Statement:
    """
    One vulnerability of one package.

    Attributes:
        vulnerability: Identifier of the record.
        aliases: Its other names.
        component: Package URL; of one that is not there what the record calls it.
        status: What is said.
        justification: Of `not_affected`, in the words of OpenVEX, else "".
        explanation: Why, for people.
    """

    vulnerability: str
    aliases: tuple[str, ...]
    component: str
    status: Status
    justification: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Vex:
    """
    What was found.

    Attributes:
        document: OpenVEX 0.2.0, JSON.
        statements: The same, in order.
        left_out: Records without a statement, each with the reason.
    """

    document: bytes
    statements: tuple[Statement, ...]
    left_out: tuple[str, ...]


def vex(
    records: Iterable[Record],
    inventory: Inventory,
    subject: Subject,
    path: ExecutePath | None,
    *,
    whole_functions: bool = False,
) -> Vex:
    """
    Return what the records mean for an image, the same bytes for the same arguments.

    Args:
        records: Vulnerabilities.
        inventory: What is in the image.
        subject: The image.
        path: What the analysis of its program found; None if there was none.
        whole_functions: As `images.sbom.reachable.unreachable` has it.

    Not checked:
        That the records are true, complete or up to date: only their versions and names are compared.

    Source:
        OpenVEX specification 0.2.0; the statuses are those of CISA, Minimum Requirements for VEX, 2023.
    """
    judge = _Judge(inventory, path, whole_functions=whole_functions)
    statements: set[Statement] = set()
    left_out = []
    for record in records:
        if record.withdrawn:
            left_out.append(f"{record.identifier}: withdrawn at {record.withdrawn}")
        elif not record.affected:
            left_out.append(f"{record.identifier}: names no package")
        else:
            statements.update(judge.statements(record))
    ordered = tuple(sorted(statements))
    return Vex(_document(ordered, subject), ordered, tuple(left_out))


class _Judge:
    """What is asked of every record, about one image."""

    def __init__(self, inventory: Inventory, path: ExecutePath | None, *, whole_functions: bool) -> None:
        self._inventory = inventory
        self._path = path
        self._code = machine_code(inventory)
        self._reachability = Reachability(inventory, self._code, path, whole_functions=whole_functions)

    def statements(self, record: Record) -> Iterator[Statement]:
        """Yield one statement for each package that is meant, or for each that is not there."""
        present = False
        for package in self._inventory.packages:
            entries = [entry for entry in record.affected if meant(entry, package)]
            if entries:
                present = True
                status, justification, explanation = self._of_package(entries, package)
                yield Statement(
                    record.identifier,
                    record.aliases,
                    package_url(package),
                    status,
                    justification,
                    explanation,
                )
        for entry in () if present else record.affected:
            status, justification, explanation = self._of_absent(entry)
            component = f"{entry.ecosystem}/{entry.name}"
            yield Statement(record.identifier, record.aliases, component, status, justification, explanation)

    def _of_package(self, entries: list[Affected], package: Package) -> tuple[Status, str, str]:
        finding = evaluate(entries, package)
        if finding.answer is Answer.FIXED:
            return Status.FIXED, "", _sentence(finding.reason)
        if finding.answer is Answer.NOT_YET:
            return Status.NOT_AFFECTED, CODE_NOT_PRESENT, _sentence(finding.reason)
        behind = left_behind(entries, package, self._inventory)
        if behind:
            return Status.NOT_AFFECTED, NOT_PRESENT, behind
        named = all(entry.symbols for entry in entries)
        symbols = tuple(group for entry in entries for group in entry.symbols) if named else ()
        answer = self._reachability.unreachable(symbols, package)
        if isinstance(answer, Proved) and self._path is not None:
            return Status.NOT_AFFECTED, NOT_IN_PATH, _proof(answer, symbols, self._path)
        reason = answer.reason if isinstance(answer, Unproved) else ""
        return Status.UNDER_INVESTIGATION, "", f"{_sentence(finding.reason)} {_sentence(reason)}"

    def _of_absent(self, entry: Affected) -> tuple[Status, str, str]:
        silent = unaccounted(entry.ecosystem, self._code)
        if silent:
            explanation = (
                f"No package of the image is {entry.name}, but {silent} does not say what it is made of."
            )
            return Status.UNDER_INVESTIGATION, "", explanation
        return Status.NOT_AFFECTED, NOT_PRESENT, f"The image has no {entry.name} of {entry.ecosystem}."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _proof(proof: Proved, symbols: Iterable[Symbols], path: ExecutePath) -> str:
    names = sorted({name for group in symbols for name in group.names})
    program = path.objects[0]
    return (
        f"No code of {', '.join(names)} in {', '.join(proof.files)} can run, by analysis of {program.path} "
        f"(sha256 {program.sha256}). This rests on: {'; '.join(proof.assumptions)}."
    )


def _document(statements: tuple[Statement, ...], subject: Subject) -> bytes:
    time = subject.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    version = f"@{subject.version}" if subject.version else ""
    product = f"pkg:generic/{subject.name}{version}?checksum=sha256:{subject.sha256}"
    body: dict[str, JsonValue] = {
        "@context": CONTEXT,
        "author": subject.author or "unknown",
        "timestamp": time,
        "version": 1,
        "tooling": f"tee-shim {subject.tool_version}",
        "statements": [_value(one, product, subject) for one in statements],
    }
    body["@id"] = f"https://openvex.dev/docs/public/vex-{sha256_hex(canonical_bytes(body))}"
    return (json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _value(one: Statement, product: str, subject: Subject) -> JsonValue:
    url = one.component.startswith("pkg:")
    component: dict[str, JsonValue] = {"@id": one.component}
    if url:
        component["identifiers"] = {"purl": one.component}
    value: dict[str, JsonValue] = {
        "vulnerability": {"name": one.vulnerability, "aliases": list(one.aliases)}
        if one.aliases
        else {"name": one.vulnerability},
        "products": [
            {
                "@id": product,
                "identifiers": {"purl": product},
                "hashes": {"sha-256": subject.sha256},
                "subcomponents": [component],
            }
        ],
        "status": str(one.status),
    }
    if one.status is Status.NOT_AFFECTED:
        value["justification"] = one.justification
        value["impact_statement"] = one.explanation
    else:
        value["status_notes"] = one.explanation
    return value
