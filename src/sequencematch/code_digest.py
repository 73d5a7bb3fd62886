"""Which code a script runs, and digests of it that change exactly when that code does.

The digests are a parameter of the rule that calls the script, so editing a module reruns the rules whose
scripts import it, directly or through other modules, and no others. Comments, docstrings, formatting and
modification times do not count. A file that a module names in a string and that lies beside it (a table, a
template) is code too: ``Path(__file__).with_name("paper_tables.csv")``; so are the files of a folder named like that.
"""

import ast
import hashlib
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # of a file or folder beside a module


def code_digest(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> str:
    """One digest of all the code that running (or importing) the file ``entry`` below ``source`` can reach."""
    return _digest(repr(code_digests(entry, unused, source)).encode())


def code_digests(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> dict[str, str]:
    """The digest of every file that running ``entry`` can reach, by its path below ``source``.

    ``unused`` names modules that it imports in functions which this run will not call.
    """
    files = sorted(import_closure(entry, unused, source))
    return {file.relative_to(source.resolve()).as_posix(): _digest(_content(file)) for file in files}


def import_closure(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> set[Path]:
    """``entry``, all modules below ``source`` that it imports, however indirectly, and the files that those name."""
    source, waiting, found = source.resolve(), [entry.resolve()], set()
    left_out = {source / (name.replace(".", "/") + ".py") for name in unused}
    while waiting:
        file = waiting.pop()
        if file not in found | left_out:
            found.add(file)
            if file.suffix == ".py":
                waiting += [*_imported_files(file, source), *_named_files(file)]
    return found


def _imported_files(file: Path, source: Path) -> Iterator[Path]:
    for name in _imported_names(file, source):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):  # importing a.b.c also runs a and a.b
            module = source.joinpath(*parts[:length])
            yield from (f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file())


def _imported_names(file: Path, source: Path) -> Iterator[str]:
    """Dotted names a file imports; ``from a import b`` gives a.b, for b may be a module."""
    package = file.relative_to(source).parent.parts
    for node in ast.walk(_code(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield from (".".join(filter(None, [*above, node.module, alias.name])) for alias in node.names)


def _named_files(file: Path) -> Iterator[Path]:
    """Files beside a module, other than modules, that its strings name, one by one or by their folder."""
    for node in ast.walk(_code(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value[:200]):
            named = file.parent / node.value
            if named.is_file() and named.suffix != ".py":
                yield named
            elif named.is_dir() and not any(named.glob("*.py")):  # a folder of modules is imported, not read
                yield from (below for below in named.rglob("*") if below.is_file())


def _content(file: Path) -> bytes:
    return ast.unparse(_code(file)).encode() if file.suffix == ".py" else file.read_bytes()


def _code(file: Path) -> ast.Module:
    """The file's syntax tree, without docstrings."""
    return _parsed(file.read_text(encoding="utf-8"), str(file))


@lru_cache(maxsize=None)
def _parsed(text: str, name: str) -> ast.Module:
    tree = ast.parse(text, filename=name)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return tree


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
