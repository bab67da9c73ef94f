"""How the tests run here and in CI.

With ``COURIER_CI=1`` (set by ``.ci/run``) a skipped test is a failed one: nothing that proves a claim may quietly stay
out. The exception is a skip whose reason begins with ``elsewhere:``, for what another platform or another user shows.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import settings

CI = os.environ.get("COURIER_CI") == "1"

# No deadline: the machine may be shared. In CI every run tries the same examples, so that a failure can be repeated.
settings.register_profile("courier", deadline=None)
settings.register_profile("courier-ci", deadline=None, derandomize=True)
settings.load_profile("courier-ci" if CI else "courier")


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if not (CI and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    if not reason.startswith("elsewhere:"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which is a failure under COURIER_CI=1: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
