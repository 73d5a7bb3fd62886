"""The numbers of the kept map that docs/map.md quotes, which docs/map_numbers.csv places.

That file has a line for each number of the page that stands on the map, in the order of the text: the number as it is
written, and its place. So the page holds plain numbers, and can be edited.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sequencematch.errors import UserError
from sequencematch.results.estimates import Effect, csv_text, read_map
from sequencematch.results.words import plain, signed_bold
from sequencematch.store.files import read_csv

PLACE = ("axis", "at", "reading", "quantity")


def quote_map(page: Path, numbers: Path, kept: Path) -> dict[Path, str]:
    """What the page and its file of numbers say with the map in the folder ``kept``."""
    text, rows = with_numbers(page.read_text(), read_csv(numbers), read_map(kept / "map.csv"))
    return {page: text, numbers: csv_text(rows)}


def with_numbers(text: str, rows: Sequence[Mapping[str, str]], effects: Sequence[Effect]) -> tuple[str, list[dict]]:
    """A text and the lines of its numbers, both as the map has them.

    Differences get their sign, and are in bold where they are significant. Raises UserError where a number is not in
    the text after the number before it, or names a place that is not on the map.
    """
    on_map = {tuple(getattr(effect, name) for name in PLACE): effect.found for effect in effects}
    done, written = "", []
    for row in rows:
        place = tuple(row[name] for name in PLACE)
        if place not in on_map:
            raise UserError(f"docs/map_numbers.csv names a place that is not on the map: {'/'.join(place)}")
        found = re.search(rf"(?<![\w.+*-]){re.escape(row['number'])}(?![\w*]|\.\d)", text)
        if not found:
            raise UserError(
                f"docs/map.md has no '{row['number']}' ({'/'.join(place)}) where docs/map_numbers.csv has it: "
                "put its line where the number stands, or leave it out"
            )
        estimate = on_map[place]
        number = signed_bold(estimate) if estimate.against else plain(estimate)
        done, text = done + text[: found.start()] + number, text[found.end() :]
        written.append({"number": number, **{name: row[name] for name in PLACE}})
    return done + text, written
