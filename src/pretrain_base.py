"""Make the base model that every method starts from: trained from scratch here, a hub model at scale."""

from sequencematch import cli
from sequencematch.settings import Model, Optimiser, Schedule


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Model)
    cli.add_settings(parser, Optimiser)
    cli.add_settings(parser, Schedule)
    cli.add_stage_options(parser)
    args = parser.parse_args()

    from sequencematch.stages import run_stage, scratch_or_pretrained
    from sequencematch.training import Stage

    schedule = cli.settings_from(args, Schedule)
    policy, model = scratch_or_pretrained(args)
    steps = schedule.base_steps  # no decay: the methods go on at the full learning rate
    stage = Stage("mle", start=0, stop=steps, decay_start=steps, total=steps)
    optimiser = cli.settings_from(args, Optimiser)
    run_stage(args, stage, policy, model, optimiser, schedule)


if __name__ == "__main__":
    cli.run(main)
