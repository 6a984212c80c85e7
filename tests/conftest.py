"""What a run of all tests prints at its end beside their number."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

# How long an input takes to make depends on what else the machine does.
settings.register_profile("any machine", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of attacks, each with the verdict that was stated and seen."""
    rows = sorted(
        {
            str(value)
            for reports in terminalreporter.stats.values()
            for report in reports
            for name, value in getattr(report, "user_properties", ())
            if name == "attack"
        }
    )
    if rows:
        terminalreporter.section(f"{len(rows)} attacks on a launched program's confinement")
        for row in rows:
            terminalreporter.write_line(row)
