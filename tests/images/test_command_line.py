"""The words of a kernel's command line, and that the documentation has them all with their reasons."""

from __future__ import annotations

from pathlib import Path

from images.command_line import HARDENING, command_line

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "images.md"


def test_each_word_is_documented_with_its_reason() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "".join(f"| `{word}` | {reason} |\n" for word, reason in HARDENING) in text


def test_words_of_the_user_come_last() -> None:
    assert command_line(" ip=dhcp ").endswith(" sysctl.kernel.sysrq=0 ip=dhcp")
    assert command_line().startswith("rdinit=/shim/launch ")
