"""The digest of a script's code changes with the code that it can reach, and with nothing else."""

import ast
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

from sequencematch.store.code_digest import SOURCE, code_digest, import_closure

FILES = {
    "script.py": "import pack.used\n\ndef main():\n    from pack import lazy\n    return lazy.x + pack.used.y\n",
    "pack/__init__.py": "",
    "pack/used.py": "from .deep import z as y\n",
    "pack/deep.py": "z = 1\n",
    "pack/lazy.py": "x = 2\n",
    "pack/unused.py": "w = 3\n",
    "pack/sub/__init__.py": "from ..unused import w\n",
    "pack/sub/leaf.py": "v = 4\n",
    "other.py": "from pack.sub.leaf import v\n",
    "reader.py": "TABLE, FOLDER, ABSENT = 'table.csv', 'forms', 'absent.csv'\n",
    "table.csv": "a,b\n",
    "forms/page.html": "<p>\n",
    "untold.csv": "c\n",
}


@pytest.fixture
def digest(tmp_path):
    """Writes the files, with some changed, as a tree of their own and digests the script in it."""
    trees = iter(range(100))

    def of(entry="script.py", changes=None, unused=()):
        tree = tmp_path / str(next(trees))
        for name, text in (FILES | (changes or {})).items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(text)
        return code_digest(tree / entry, unused, tree)

    return of


def test_the_closure_has_lazy_and_indirect_imports_and_packages_passed_through(tmp_path, digest):
    digest()
    tree = tmp_path / "0"

    def names(script):
        return {str(file.relative_to(tree)) for file in import_closure(tree / script, source=tree)}

    assert names("script.py") == {"script.py", "pack/__init__.py", "pack/used.py", "pack/deep.py", "pack/lazy.py"}
    assert names("other.py") == {
        "other.py", "pack/__init__.py", "pack/sub/__init__.py", "pack/sub/leaf.py", "pack/unused.py"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "file", "counts"),
    [
        *(("script.py", module, True) for module in ("script.py", "pack/used.py", "pack/deep.py", "pack/lazy.py")),
        *(("script.py", "pack/unused.py", False), ("other.py", "pack/unused.py", True)),
        # Files that a module names, and others.
        *(("reader.py", "table.csv", True), ("reader.py", "forms/page.html", True), ("reader.py", "untold.csv", False)),
        *(("other.py", "table.csv", False), ("other.py", "forms/page.html", False)),
    ],
)
def test_what_is_within_reach_counts_and_nothing_else(digest, entry, file, counts):
    assert (digest(entry, {file: FILES[file] + "more = 5\n"}) != digest(entry)) == counts


def test_a_module_known_to_be_unused_does_not_count(digest):
    assert digest(changes={"pack/lazy.py": "x = 20\n"}, unused=["pack.lazy"]) == digest(unused=["pack.lazy"])


def test_an_unused_module_that_does_not_exist_is_an_error(digest):
    """A renamed module would otherwise count again, without a word."""
    with pytest.raises(ValueError, match="'pack.lzy', said to be unused by script.py, is not a module"):
        digest(unused=["pack.lzy"])


SPEAKING = """
def f(x):
    print(f'made {x} rows', file=sys.stderr)
    print(f'wrote {x}', file=table)
    if x < 3:
        raise UserError(f'few {x}: give ' + ('more' if x else 'some'))
    raise ValueError(unknown(f'setting {x}', names['key']))

class S(Section):
    a: int = setting(1, 'how many', ge=0)
    b: int = Field(2, description='how long')

LABELS = {'a': 'number of rows'}
parser.add_argument('--rows', help='rows to write')
LOSS = Loss('likelihood', noised=True)
"""


@pytest.mark.parametrize(
    "words", ["made ", "few ", ": give ", "more", "setting ", "how many", "how long", "rows to", "like"]
)
def test_words_of_errors_and_help_do_not_count(digest, words):
    assert SPEAKING.count(words) == 1
    changed = SPEAKING.replace(words, f"other {words} words ")
    assert digest(changes={"pack/deep.py": changed}) == digest(changes={"pack/deep.py": SPEAKING})


@pytest.mark.parametrize(
    ("code", "other"),
    [
        *((text, f"other {text}") for text in ("wrote ", "number of", "key")),  # a result, a label, a name
        ("--rows", "--other"),
        *((f"few {{x{was}}}", f"few {{x{now}}}") for was, now in (("", ".pop()"), ("", ":.2f"))),
        *(
            ("x < 3", "x < 4"),
            ("if x else", "if x.pop() else"),
            ("UserError", "ValueError"),
            ("sys.stderr", "sys.stdout"),
        ),
        *(("setting(1", "setting(2"), ("ge=0", "ge=1"), ("Field(2", "Field(3"), ("noised=True", "noised=False")),
    ],
)
def test_code_among_words_counts(digest, code, other):
    assert code in SPEAKING
    changed = SPEAKING.replace(code, other)
    assert digest(changes={"pack/deep.py": changed}) != digest(changes={"pack/deep.py": SPEAKING})


def test_a_file_named_in_an_error_still_counts(digest):
    reader = {"reader.py": "def f():\n    raise UserError('table.csv')\n"}
    assert digest("reader.py", reader | {"table.csv": "more"}) != digest("reader.py", reader)


def test_in_the_module_of_sentences_no_text_counts(digest):
    sentences = {
        "sequencematch/settings/explain.py": "WORDS = {'ge': 'at least'}\ndef f(x):\n    return f'{x} is wrong'\n"
    }
    entry = "sequencematch/settings/explain.py"
    for old, new, counts in (("at least", "from", False), (" is wrong", "!", False), ("{x}", "{x + 1}", True)):
        changed = {entry: sentences[entry].replace(old, new)}
        assert (digest(entry, changed) != digest(entry, sentences)) == counts


@pytest.mark.parametrize("script", sorted(SOURCE.glob("*.py")), ids=lambda script: script.stem)
def test_the_closure_is_what_pythons_own_module_finder_finds(script):
    """It reads the compiled code instead of the syntax tree; libraries are out of its sight."""
    finder = ModuleFinder(path=[str(SOURCE)])
    finder.run_script(str(script))
    found = {Path(module.__file__) for module in finder.modules.values() if module.__file__}
    assert found == {file for file in import_closure(script) if file.suffix == ".py"}
    assert not [name for name in finder.any_missing_maybe()[0] if name.startswith("sequencematch")]


def test_no_code_takes_names_from_the_package_itself():
    """Those load their modules by name, which no reading of the code can follow."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "sequencematch":
                names = {alias.name for alias in node.names}
                assert all((SOURCE / "sequencematch" / f"{name}.py").is_file() for name in names), file
