"""The parts of the kept map that docs/map.md quotes: the page's overview, and the numbers that name their place."""

import re
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.effects import LEVEL
from sequencematch.store.files import read_csv

GLANCE, GLANCE_END = "<!-- map: make reference -->", "<!-- end of map -->"
# A number, and its place on the map: axis, cell, reading, quantity.
NUMBER = re.compile(r"(?:\*\*)?[+-]?\d[\d.]*(?:\*\*)?(?=<!--([^/>]+)/([^/>]+)/([^/>]+)/(\w+)-->)")


def with_map(text: str, reference: Path) -> str:
    """A text with the overview of the kept map between its two markers, and its tagged numbers as the map has them.

    Differences get their sign, and are in bold where they are significant. Raises UserError where a number names a
    place that is not on the map.
    """
    page = (reference / "map.md").read_text()
    parts = [part.partition("\n")[2].strip() for part in page.split("\n## ")[:2]]  # without their headings
    overview = re.sub(r"\n\n!\[[^\n]*", "", parts[1])  # its figure has a place of its own in the text
    before, _, rest = text.partition(GLANCE)
    text = "\n".join([before + GLANCE, parts[0], "", overview, GLANCE_END]) + rest.partition(GLANCE_END)[2]
    kept = read_csv(reference / "map.csv")
    rows = {(row["axis"], row["at"], row["reading"], row["quantity"]): row for row in kept}

    def written(found: re.Match) -> str:
        if found.groups() not in rows:
            raise UserError(f"docs/map.md names a place that is not on the map: {'/'.join(found.groups())}")
        mean, p = (rows[found.groups()][name] for name in ("mean", "p_corrected"))
        if not p:
            return f"{float(mean):.1f}"
        bold = "**" * (float(p) < LEVEL)
        return f"{bold}{float(mean):+.1f}{bold}"

    return NUMBER.sub(written, text)
