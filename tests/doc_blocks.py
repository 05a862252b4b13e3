"""Code in documents: runs their python blocks and compares, or writes, the output blocks that follow.

    python -m tests.doc_blocks README.md docs/how-it-works.md      writes the outputs anew

The python blocks of a document run in order in one namespace. A text block right after a python block holds what it
prints; it is compared up to white space, `...`, the serial numbers of nodes and measured seconds. A block that says
`text sample` shows what depends on the versions at hand, such as generated code: it is written, not compared.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
#: documents about what may not be installed
OPTIONAL = {"jax.md": "jax", "torch.md": "torch"}
FENCE = re.compile(r"^```(\w+)[ ]?([\w ]*)\n(.*?)^```$", flags=re.M | re.S)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Step:
    """A python block, and the text block that shows its output (start and end in the document), if there is one."""

    line: int
    code: str
    shown: tuple[int, int] | None = None
    compared: bool = True


def steps(text: str) -> list[Step]:
    found: list[Step] = []
    last = ""
    for m in FENCE.finditer(text):
        language, tag = m.group(1), m.group(2)
        if language == "python":
            found.append(Step(text[:m.start()].count("\n") + 2, m.group(3)))
        elif language == "text" and last == "python":
            found[-1].shown, found[-1].compared = m.span(3), tag != "sample"
        last = language
    return found


def outputs(text: str, name: str) -> Iterator[tuple[Step, str]]:
    """Each step with what it printed; line numbers in errors are those of the document."""
    namespace: dict = {"__name__": "__document__"}
    for step in steps(text):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * (step.line - 1) + step.code, name, "exec"), namespace)
        yield step, printed.getvalue()


def comparable(text: str) -> str:
    """The text without node numbers, line numbers of documents, and measured seconds."""
    text = re.sub(r"(\.md):\d+ in", r"\1: in", text)
    return re.sub(r"\d+\.\d{3} s\b", "0.000 s", re.sub(r"#\d+\b", "#", text))


def agree(shown: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(comparable(shown), comparable(printed), SAME)


def rewritten(text: str, name: str) -> str:
    """The document with every output block replaced by what is printed now."""
    for step, printed in reversed(list(outputs(text, name))):
        if step.shown is not None:
            start, end = step.shown
            text = text[:start] + printed.rstrip("\n") + "\n" + text[end:]
    return text


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument)
        path.write_text(rewritten(path.read_text(), str(path)))
