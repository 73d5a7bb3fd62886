"""The workflow's rules as a small drawing: what ``snakemake --rulegraph`` prints, in layers from top to bottom."""

import re
from pathlib import Path

from markupsafe import Markup

from sequencematch.errors import UserError

NODE = re.compile(r'^\s*(\d+)\[label = "([^"\\]+)', re.M)
EDGE = re.compile(r"^\s*(\d+) -> (\d+)\s*$", re.M)
WIDTH, HEIGHT, ACROSS, DOWN = 190, 30, 20, 26  # of a box, and between boxes


def read_rule_graph(path: Path) -> dict[str, set[str]]:
    """The rules, each with those whose results it reads. Raises UserError if the file is no such graph."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"'{path}' is not there or no text file: run the rule draw_rules") from error
    names = dict(NODE.findall(text))
    if not names:
        raise UserError(f"'{path}' holds no rule graph: delete it and run again")
    graph: dict[str, set[str]] = {name: set() for name in names.values()}
    for before, after in EDGE.findall(text):
        graph[names[after]].add(names[before])
    return graph


def reduced(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The graph without the arrows that follow from others."""
    reach: dict[str, set[str]] = {}
    for rule in _in_order(graph):
        reach[rule] = graph[rule].union(*(reach[before] for before in graph[rule]))
    return {rule: {b for b in before if not any(b in reach[o] for o in before)} for rule, before in graph.items()}


def draw_rule_graph(graph: dict[str, set[str]]) -> Markup:
    """The rules as boxes with arrows, each below the rules that it needs; SVG in the page's colours."""
    graph = reduced(graph)
    depth: dict[str, int] = {}
    for rule in _in_order(graph):
        depth[rule] = 1 + max((depth[before] for before in graph[rule]), default=-1)
    for rule in graph:  # a rule that reads nothing is placed right above its readers
        if not graph[rule]:
            depth[rule] = min((depth[after] for after in graph if rule in graph[after]), default=1) - 1
    layers = [sorted(rule for rule in graph if depth[rule] == d) for d in range(max(depth.values()) + 1)]
    widest = max(map(len, layers))
    place: dict[str, tuple[float, float]] = {}
    for d, layer in enumerate(layers):
        # Below what it needs: the order of a layer follows the mean place of its rules' inputs.
        layer.sort(key=lambda r: sum(place[b][0] for b in graph[r]) / len(graph[r]) if graph[r] else float("inf"))
        for k, rule in enumerate(layer):
            place[rule] = ((k + (widest - len(layer)) / 2) * (WIDTH + ACROSS), d * (HEIGHT + DOWN))
    width, height = widest * (WIDTH + ACROSS) - ACROSS, len(layers) * (HEIGHT + DOWN) - DOWN
    parts = [
        Markup('<svg viewBox="-2 -2 {} {}" style="max-width:{}px" role="img" aria-label="{}">').format(
            width + 4, height + 4, width, _in_words(graph)
        ),
        Markup('<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7"'
               ' orient="auto"><path d="M0 0L8 4L0 8z" class="arrow"/></marker></defs>'),
    ]  # fmt: skip
    for rule, before in graph.items():
        for other in sorted(before):
            (x0, y0), (x1, y1) = place[other], place[rule]
            x0, y0, x1 = x0 + WIDTH / 2, y0 + HEIGHT, x1 + WIDTH / 2
            bend = (y0 + y1) / 2
            path = f"M{x0:g} {y0:g}C{x0:g} {bend:g} {x1:g} {bend:g} {x1:g} {y1:g}"
            parts.append(Markup('<path d="{}" class="edge" marker-end="url(#arrow)"/>').format(path))
    for rule, (x, y) in place.items():
        parts.append(
            Markup('<g transform="translate({:g} {:g})"><rect width="{}" height="{}" rx="6" class="box"/>'
                   '<text x="{:g}" y="{:g}" text-anchor="middle">{}</text></g>').format(
                x, y, WIDTH, HEIGHT, WIDTH / 2, HEIGHT / 2 + 4, rule)
        )  # fmt: skip
    return Markup("").join([*parts, Markup("</svg>")])


def _in_order(graph: dict[str, set[str]]) -> list[str]:
    """Every rule after those it needs."""
    from graphlib import TopologicalSorter

    return list(TopologicalSorter(graph).static_order())


def _in_words(graph: dict[str, set[str]]) -> str:
    return "Rules and what they read: " + "; ".join(
        f"{rule} reads {', '.join(sorted(before))}" for rule, before in graph.items() if before
    )
