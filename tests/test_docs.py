"""Every document does what it says: code runs, outputs agree, links lead somewhere, docstring examples hold."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from types import ModuleType

import pytest

import symhess
from symhess.graph.node import PRIMITIVES
from symhess.primitives import ELEMENTWISE
from tests.doc_blocks import DOCUMENTS, OPTIONAL, ROOT, agree, outputs

DOCUMENTED = [(module, name) for module in (symhess, symhess.functional, symhess.curvature) for name in module.__all__
              if module is not symhess or not isinstance(getattr(module, name), type)]


@pytest.fixture(autouse=True)
def _registries():
    """A document may declare primitives; they are gone after it."""
    kept = [(registry, dict(registry)) for registry in (PRIMITIVES, ELEMENTWISE)]
    yield
    for registry, entries in kept:
        registry.clear()
        registry.update(entries)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_python_blocks_run_and_print_what_is_shown(path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run `python -m tests.doc_blocks <document>` to write the outputs anew."""
    if path.name in OPTIONAL:
        pytest.importorskip(OPTIONAL[path.name])
    monkeypatch.chdir(ROOT)
    text = path.read_text()
    for step, printed in outputs(text, str(path.relative_to(ROOT))):
        if step.shown is not None and step.compared:
            shown = text[slice(*step.shown)]
            assert agree(shown, printed), f"{path.name}:{step.line} prints\n{printed}\nbut shows\n{shown}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_to_files(path: Path):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", path.read_text())
    assert not [t for t in targets if not (path.parent / t).exists()]


def test_a_wrong_output_is_seen():
    text = "```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    ((step, printed),) = outputs(text, "planted")
    assert not agree(text[slice(*step.shown)], printed)
    assert agree("E[5]: add#12 ...\n", "E[5]:  add#7 * 3\n")


@pytest.mark.parametrize("module, name", DOCUMENTED)
def test_docstrings_have_examples_that_hold(module: ModuleType, name: str):
    function = getattr(module, name)
    found = doctest.DocTestFinder(recurse=False).find(function, name, globs={})
    assert found and found[0].examples, f"{name} has no example"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report: list[str] = []
    assert runner.run(found[0], out=report.append).failed == 0, "".join(report)
