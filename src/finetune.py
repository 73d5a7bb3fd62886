"""Spend a method's budget: from BC's k steps or, where a loss does not continue them, from the base."""

from sequencematch import script
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.training import add_training_settings, training_settings


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--loss", choices=tuple(LOSSES), required=True, help="what the method minimises")
    add_training_settings(parser)
    script.add_initial_option(parser)
    script.add_stage_options(parser)
    args = parser.parse_args()
    loss = LOSSES[args.loss]
    optimiser, schedule, objective, rollouts = training_settings(args, loss.reads)

    from sequencematch.training.job import Settings, load_initial, run_stage
    from sequencematch.training.schedule import Stage

    start = schedule.pretrain_steps if loss.continues_bc else 0
    stage = Stage(args.loss, start, schedule.steps, schedule.decay_start, schedule.steps)
    run_stage(args, stage, load_initial(args, stage), Settings(optimiser, schedule, objective, rollouts))


if __name__ == "__main__":
    script.run(main, records=False)
