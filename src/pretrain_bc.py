"""Behavioural cloning for k steps: the common start of BC for the full budget and of SequenceMatch."""

from sequencematch import cli
from sequencematch.settings import Objective, Optimiser, Schedule


def main() -> None:
    parser = cli.parser(__doc__)
    cli.add_settings(parser, Optimiser)
    cli.add_settings(parser, Schedule)
    cli.add_settings(parser, Objective)
    cli.add_stage_options(parser)
    cli.add_initial_option(parser)
    args = parser.parse_args()
    optimiser, schedule, objective = (cli.settings_from(args, s) for s in (Optimiser, Schedule, Objective))

    from sequencematch.stages import load_initial, run_stage
    from sequencematch.training import Stage

    stage = Stage("bc", 0, schedule.pretrain_steps, schedule.decay_start, schedule.steps)
    policy, model, base_steps = load_initial(args, stage)
    run_stage(args, stage, policy, model, optimiser, schedule, objective, base_steps=base_steps)


if __name__ == "__main__":
    cli.run(main)
