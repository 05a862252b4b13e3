"""A plugin of pytest's: a test fails where the driver found something."""

import pytest

import emulated_driver


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Run a test, and look at what was found meanwhile."""
    emulated_driver.reports()
    result = yield
    found = emulated_driver.reports()
    assert not found, "\n".join(found)
    return result
