"""Run a program on the emulated driver."""

import os
import runpy
import sys

import emulated_driver

emulated_driver.install()
sys.argv = sys.argv[1:]
if not sys.argv:
    sys.exit(emulated_driver.__doc__)
if sys.argv[0] == "-m":
    sys.argv = sys.argv[1:]
    os.environ["PYTEST_PLUGINS"] = "emulated_driver.checks"
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    runpy.run_path(sys.argv[0], run_name="__main__")
print(*emulated_driver.reports(), sep="\n", end="", file=sys.stderr)
