"""Which code a script runs, and digests that change exactly when that code changes.

The digests are a parameter of the rule that calls the script. So editing a module reruns the rules whose scripts import
it, directly or through other modules, and no others. Comments, docstrings, formatting and modification times do not
count. A data file next to a module that the module names in a string (a table, a template) counts as code:
``Path(__file__).with_name("paper_tables.csv")``. So do the files of a folder named like that.

Words do not count either: what an error or ``--help`` says. They are the text, also around the placeholders of an
f-string, in ``UserError(...)``, ``ValueError(...)``, ``print(..., file=sys.stderr)`` and the arguments of ``SAID``, and
all text in ``settings/explain.py``, which makes sentences and nothing else. Any other text counts: labels that a table
or figure shows are results, and a message that is put together before the error is code.
"""

import ast
import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
ONLY_WORDS = "sequencematch/settings/explain.py"
ERRORS = ("UserError", "ValueError")
# Of calls: the argument that is words, by its place (None: never by place) or its name.
SAID = {
    "setting": (1, "meaning"),
    "Field": (None, "description"),
    "add_argument": (None, "help"),
    "unknown": (0, "path"),
    "Loss": (0, "title"),
}
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # of a file or folder next to a module


def code_digest(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> str:
    """One digest of all the code that running (or importing) the file ``entry`` below ``source`` can reach."""
    return _digest(repr(code_digests(entry, unused, source)).encode())


def code_digests(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> dict[str, str]:
    """The digest of every file that running ``entry`` can reach, by its path below ``source``.

    ``unused``: modules that ``entry`` imports in functions not called here. Raises ValueError if one does not exist.
    """
    source, files = source.resolve(), sorted(import_closure(entry, unused, source))
    digests = (_read(file, source).digest if file.suffix == ".py" else _digest(file.read_bytes()) for file in files)
    return {file.relative_to(source).as_posix(): digest for file, digest in zip(files, digests, strict=True)}


def import_closure(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> set[Path]:
    """``entry``, all modules below ``source`` that it imports, directly or not, and the files that these name."""
    source, waiting, found = source.resolve(), [entry.resolve()], set()
    left_out = {source / (name.replace(".", "/") + ".py"): name for name in unused}
    for file, name in left_out.items():
        if not file.is_file():
            raise ValueError(f"'{name}', said to be unused by {entry.name}, is not a module of {source}")
    while waiting:
        file = waiting.pop()
        if file not in found and file not in left_out:
            found.add(file)
            if file.suffix == ".py":
                module = _read(file, source)
                waiting += [*_imported_files(module, source), *_named_files(module, file.parent)]
    return found


@dataclass(frozen=True)
class _Module:
    """What is known of a module: the digest of its code, the names it imports, its strings that may name files."""

    digest: str
    imports: frozenset[str]
    strings: frozenset[str]


def _imported_files(module: _Module, source: Path) -> Iterator[Path]:
    for name in module.imports:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):  # importing a.b.c also runs a and a.b
            imported = source.joinpath(*parts[:length])
            yield from (f for f in (imported.with_suffix(".py"), imported / "__init__.py") if f.is_file())


def _named_files(module: _Module, folder: Path) -> Iterator[Path]:
    """The data files next to a module that its strings name, one by one or by their folder."""
    for named in (folder / string for string in module.strings):
        if named.is_file() and named.suffix != ".py":
            yield named
        elif named.is_dir() and not any(named.glob("*.py")):  # a folder of modules is imported, not read
            yield from (below for below in named.rglob("*") if below.is_file())


def _read(file: Path, source: Path) -> _Module:
    return _parsed(file.read_text(encoding="utf-8"), str(file), file.relative_to(source).parent.parts)


@cache  # by content: many scripts share a module, and it may change while the process lives
def _parsed(text: str, name: str, package: tuple[str, ...]) -> _Module:
    tree = ast.parse(text, filename=name)
    imports, strings = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.Import):
            imports |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):  # from a import b: a.b, for b may be a module
            above = package[: len(package) - node.level + 1] if node.level else ()
            imports |= {".".join(filter(None, [*above, node.module, alias.name])) for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value[:200]):
            strings.add(node.value)
    # Files are named by any text, so they are looked for before words go.
    code = (_WithoutText() if name.endswith(ONLY_WORDS) else _WithoutWords()).visit(tree)
    return _Module(_digest(ast.unparse(code).encode()), frozenset(imports), frozenset(strings))


class _WithoutWords(ast.NodeTransformer):
    """Takes out words, where they stand (the module's description). Expressions among them stay: they may do things."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        called = ast.unparse(node.func).rpartition(".")[2]
        by_place, by_name = SAID.get(called, (None, ""))
        printed = called == "print" and any(ast.unparse(given) == "file=sys.stderr" for given in node.keywords)
        all_words = printed or called in ERRORS
        node.args = [_silent(a) if all_words or place == by_place else a for place, a in enumerate(node.args)]
        for given in node.keywords:
            given.value = _silent(given.value) if given.arg == by_name else given.value
        return self.generic_visit(node)


class _WithoutText(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return _silent(node)


def _silent(node: ast.expr) -> ast.expr:
    """Without the text that it consists of; what it looks up, calls or compares stays."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return ast.Constant("")
    if isinstance(node, ast.JoinedStr):
        node.values = [part for part in node.values if isinstance(part, ast.FormattedValue)]
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        node.left, node.right = _silent(node.left), _silent(node.right)
    elif isinstance(node, ast.IfExp):
        node.body, node.orelse = _silent(node.body), _silent(node.orelse)
    return node


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
