"""`pytest -m gpu` runs the tests of the CPU on a GPU, too: see on_a_gpu.py. Without it, nothing here does anything."""

import time

import on_a_gpu
import pytest


def pytest_addoption(parser):
    parser.addoption("--gpu-seconds", type=float, default=float("inf"),
                     help="with -m gpu: skip what has not begun after so many seconds")


def pytest_configure(config):
    config.stash[on_a_gpu.DEADLINE] = time.monotonic() + config.option.gpu_seconds
    config.stash[on_a_gpu.CHOSEN] = on_a_gpu.is_asked_for(config.option.markexpr) and on_a_gpu.has_device()
    if config.stash[on_a_gpu.CHOSEN]:
        on_a_gpu.install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if config.stash[on_a_gpu.CHOSEN]:
        for item in items:
            on_a_gpu.prepare(item)


def pytest_runtest_setup(item):
    if time.monotonic() > item.config.stash[on_a_gpu.DEADLINE]:
        pytest.skip("no time left")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not item.config.stash[on_a_gpu.CHOSEN]:
        return (yield)
    with on_a_gpu.retargeting(on_a_gpu.runs_there(item)):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except Exception as problem:
        if item.config.stash[on_a_gpu.CHOSEN] and on_a_gpu.is_refusal(problem):
            pytest.skip(f"refused on a GPU: {problem}")
        raise
    finally:
        item.user_properties.append(("launched", on_a_gpu.launched["programs"]))


def pytest_terminal_summary(terminalreporter, config):
    """How many tests ran something there, and which have nothing to do with it."""
    if config.stash[on_a_gpu.CHOSEN]:
        reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, ())]
        for line in on_a_gpu.summary({r.nodeid: dict(r.user_properties).get("launched", 0) for r in reports}):
            terminalreporter.write_line(line)
