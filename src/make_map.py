"""Compare the scores of the map's cells: a CSV of every score and difference, a page, and figures."""

from pathlib import Path

from pydantic import ValidationError

from sequencematch import script
from sequencematch.errors import UserError
from sequencematch.results import estimates, figures, measure, pages
from sequencematch.settings.map import Map, readings_of
from sequencematch.store.files import atomic_folder, write_text_atomically


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, help="folder of the scale's results")
    parser.add_argument("--map", required=True, help="the configuration's map, as JSON")
    parser.add_argument("--noiseless", nargs="*", default=[], help="methods that train on clean data (their eta is 0)")
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="seeds of the runs")
    parser.add_argument(
        "--output", type=script.output, required=True, help="folder to write: CSV, pages, figures (PNG)"
    )
    args = parser.parse_args()
    try:
        described = Map.model_validate_json(args.map)
    except ValidationError as error:
        raise UserError(f"--map describes no map ({error.errors()[0]['msg']})") from None
    readings = readings_of(described, args.noiseless)
    found = measure.measure_map(readings, args.results, args.seeds)
    page = pages.map_page(described, found, args.seeds)
    with atomic_folder(args.output) as folder:
        table = estimates.Table("map", found, seeds=len(args.seeds))
        write_text_atomically(folder / "map.csv", estimates.estimates_csv(table))
        write_text_atomically(folder / "map.md", page.markdown())
        write_text_atomically(folder / "map.html", page.html())
        figures.plot_summary(described, found, len(args.seeds), folder / "summary.png")
        figures.plot_cost(described, found, folder / "cost.png")
        for name in dict.fromkeys(reading.axis for reading in readings):
            figures.plot_axis(described, name, found, len(args.seeds), folder / f"{name}.png")


if __name__ == "__main__":
    script.run(main)
