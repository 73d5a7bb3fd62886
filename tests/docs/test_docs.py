"""The documentation: every command in it works, every link leads somewhere, every name it uses exists.

Convention: an indented block, or a fence marked ``sh``, holds commands, one a line, or what a terminal shows, the
commands after ``$``; anything else stands in a fence with its own language. A span of code that begins with ``make`` or
``.venv/bin/`` is a command too. Each command is checked by the first of ``CHECKS`` that matches it; one that none
matches fails.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from support.workflow import ROOT, Planner

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHELL = ("sh", "bash", "console")
SPAN = re.compile(r"(make|\.venv/bin/\w+)( [^<>…]*)?")  # <name> stands for what the reader puts there


@dataclass(frozen=True)
class Command:
    """A command of a document, with the variables that its block has set before it."""

    words: str
    where: str
    variables: tuple[str, ...] = ()


def tokens(file: Path) -> list:
    return MarkdownIt("commonmark").enable("table").parse(file.read_text(encoding="utf-8"))


def commands(file: Path) -> Iterator[Command]:
    for token in tokens(file):
        where = f"{file.name}:{token.map[0] + 1}" if token.map else file.name
        if token.type == "code_block" or (token.type == "fence" and token.info.strip() in SHELL):
            variables: tuple[str, ...] = ()
            lines = token.content.replace("\\\n", " ").splitlines()
            if lines[0].startswith("$ "):
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            for line in lines:
                line = re.split(r"\s{2,}#|^#", line)[0].strip()
                if re.fullmatch(r"\w+=\S+", line):
                    variables += (line,)
                elif line:
                    yield Command(line, where, variables)
        for child in token.children or []:
            if child.type == "code_inline" and SPAN.fullmatch(child.content):
                yield Command(child.content, where)


def local(command: Command) -> str:
    """The command for the finished smoke scale, with the programs of this environment."""
    words = "; ".join([*command.variables, command.words])
    programs = Path(sys.executable).parent
    return words.replace("results/default/", "results/smoke/").replace(".venv/bin/", f"{programs}/")


def shell(words: str, folder: Path) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(["bash", "-c", words], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
    return done.stdout


def run(command: Command, tree: Path, plan: Planner) -> None:
    """Cheap: for real, on the smoke scale."""
    shell(local(command), tree)


def dry_run(command: Command, tree: Path, plan: Planner) -> None:
    """Snakemake plans it."""
    shell(f"{local(command)} --dry-run", tree)


def follow(command: Command, tree: Path, plan: Planner) -> None:
    """The file that is to be watched is there."""
    assert (tree / shlex.split(local(command))[-1]).is_file()


def known(command: Command, tree: Path, plan: Planner) -> str:
    """Make knows the target; what it would run."""
    planned = subprocess.run(["make", "-n", *shlex.split(command.words)[1:]], cwd=ROOT, capture_output=True, text=True)
    assert planned.returncode == 0 and "check_make_arguments.py '" not in planned.stdout, planned.stdout
    return planned.stdout


def make(command: Command, tree: Path, plan: Planner) -> None:
    """The target exists; where it runs the workflow, Snakemake plans what make would run."""
    for line in known(command, tree, plan).replace("\\\n", " ").splitlines():
        if match := re.match(r"\S*python workflow/launcher/run\.py (.*)", line):
            plan(*shlex.split(re.sub(r"--report \S+ --report-after-run", "", match[1])))


def collect(command: Command, tree: Path, plan: Planner) -> None:
    """The tests that are named exist."""
    named = [word for word in shlex.split(command.words) if word.startswith("tests/")]
    assert named and all((ROOT / word.partition("::")[0]).is_file() for word in named)


def offered(command: Command, tree: Path, plan: Planner) -> None:
    """It needs an account or several GPUs: the program, and the script that it is to start, are there."""
    words = [word.removeprefix(".venv/bin/") for word in shlex.split(command.words)]
    assert (Path(sys.executable).parent / words[0]).is_file()
    assert all((tree / word).is_file() for word in words if word.endswith(".py"))


CHECKS = [
    (r"make .*model=\{source: /(models|path)/.*", known),
    (r"make( .*)?", make),
    (r"\.venv/bin/sequencematch (sample|trace|export) .*", run),
    (r"\.venv/bin/python (src|workflow)/\w+\.py --help|\.venv/bin/python workflow/uses\.py", run),
    (r"\.venv/bin/python examples/\w+\.py", run),
    (r"\.venv/bin/python -m pytest .*", collect),
    (r"\.venv/bin/snakemake( .*)?--unlock", run),
    (r"\.venv/bin/snakemake( .*)?", dry_run),
    (r"\.venv/bin/hf .*", offered),
    (r"accelerate launch .* src/\w+\.py .*", offered),
    (r"tail -f \S+", follow),
    (r"column .* \S+", follow),
    (r"cd results/smoke && find \. .*", run),
]


def check_of(command: Command):
    return next((check for pattern, check in CHECKS if re.fullmatch(pattern, command.words)), None)


# The same command in several places is checked once; each place of an unknown one is named.
ALL = [command for file in DOCS for command in commands(file)]
ONCE = list({(command.words, command.variables): command for command in ALL}.values())


def test_there_are_commands_to_check():
    assert len(ONCE) > 15 and {command.where.partition(":")[0] for command in ALL} >= {"README.md", "extend.md"}


def test_every_command_is_covered_by_a_check():
    unknown = [f"{command.where}: {command.words}" for command in ALL if check_of(command) is None]
    assert unknown == []


@pytest.fixture(scope="module")
def plan(smoke_copy):
    with Planner(smoke_copy) as planner:
        yield planner


@pytest.mark.slow
@pytest.mark.parametrize("command", [pytest.param(c, id=f"{c.where} {c.words}") for c in ONCE if check_of(c)])
def test_every_command_works(command, smoke_copy, plan):
    check_of(command)(command, smoke_copy, plan)


@pytest.mark.parametrize("file", DOCS, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    for token in tokens(file):
        for child in token.children or []:
            link = child.attrGet("href") or child.attrGet("src")
            if link and "://" not in link:
                path, _, anchor = link.partition("#")
                target = (file.parent / path).resolve() if path else file
                assert target.exists(), f"{file.name} links to {link}"
                assert not anchor or anchor in anchors(target), f"{file.name} links to {link}"


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a Markdown file."""
    parsed = tokens(file)
    titles = [parsed[i + 1].content for i, token in enumerate(parsed) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def names_of_the_code() -> set[str]:
    """What the library defines: functions, classes, constants, fields, and strings that are names."""
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


@pytest.mark.parametrize("name", ["method.md", "departures.md", "extend.md"])
def test_names_of_code_exist(name):
    """Spans of code that are one word: names of the library or of the configuration, or files."""
    known = names_of_the_code() | set(re.findall(r"\w+", (ROOT / "config.yaml").read_text()))
    unknown = []
    for token in tokens(ROOT / "docs" / name):
        for child in token.children or []:
            if child.type != "code_inline" or not (word := re.fullmatch(r"[\w./-]+?(: \w+)?/?", child.content)):
                continue
            word = word[0].partition(":")[0]
            file = any((folder / word).exists() for folder in (ROOT, ROOT / "src/sequencematch", ROOT / "tests"))
            if not (file or all(part in known for part in word.split(".")) or word in known):
                unknown.append(child.content)
    assert unknown == []
