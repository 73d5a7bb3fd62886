"""Which code a script runs, and a digest of it that changes exactly when that code does.

The digest is a parameter of the rule that calls the script, so editing a module reruns the rules whose
scripts import it, directly or through other modules, and no others. Comments, docstrings, formatting and
modification times do not count.
"""

import ast
import hashlib
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1]


def code_digest(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> str:
    """Digest of the code that running (or importing) the file ``entry`` below ``source`` can reach.

    ``unused`` names modules that it imports in functions which this run will not call.
    """
    digest = hashlib.sha256()
    for file in sorted(import_closure(entry, unused, source)):
        digest.update(f"{file.relative_to(source.resolve())}\n{ast.unparse(_code(file))}\n".encode())
    return digest.hexdigest()[:16]


def import_closure(entry: Path, unused: Collection[str] = (), source: Path = SOURCE) -> set[Path]:
    """``entry`` and all files below ``source`` that it imports, however indirectly, in functions too."""
    source, waiting, found = source.resolve(), [entry.resolve()], set()
    left_out = {source / (name.replace(".", "/") + ".py") for name in unused}
    while waiting:
        file = waiting.pop()
        if file not in found | left_out:
            found.add(file)
            waiting += _imported_files(file, source)
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


@cache
def _code(file: Path) -> ast.Module:
    """The file's syntax tree, without docstrings."""
    tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return tree
