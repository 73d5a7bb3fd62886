"""Generate a dataset of path-star graphs and the arm that ends in the goal, its splits disjoint by graph."""

from sequencematch import script
from sequencematch.settings.data import Graphs
from sequencematch.settings.options import add_settings, settings_from


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Graphs)
    parser.add_argument("--output", type=script.output, required=True, help="dataset folder to write")
    args = parser.parse_args()
    data = settings_from(args, Graphs)

    from sequencematch.data.graphs import generate
    from sequencematch.store.datasets import save

    splits, facts = generate(data)
    save(splits, args.output, {"settings": data.model_dump()} | facts)


if __name__ == "__main__":
    script.run(main)
