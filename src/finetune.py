"""Spend a method's budget: MLE and ULS from the base model, BC and SequenceMatch from BC's k steps."""

from sequencematch import script
from sequencematch.settings.losses import LOSSES
from sequencematch.settings.options import add_settings, settings_from
from sequencematch.settings.training import Objective, Optimiser, Rollouts, Schedule


def main() -> None:
    parser = script.parser(__doc__)
    parser.add_argument("--loss", choices=tuple(LOSSES), required=True, help="what the method minimises")
    for section in (Optimiser, Schedule, Objective, Rollouts):
        add_settings(parser, section)
    script.add_stage_options(parser)
    script.add_initial_option(parser)
    args = parser.parse_args()
    loss = LOSSES[args.loss]
    optimiser, schedule, objective, rollouts = (
        settings_from(args, section, loss.reads.get(section.group(), ()))
        for section in (Optimiser, Schedule, Objective, Rollouts)
    )

    from sequencematch.training.stage import Settings, load_initial, run_stage
    from sequencematch.training.trainer import Stage

    start = schedule.pretrain_steps if loss.noised else 0
    stage = Stage(args.loss, start, schedule.steps, schedule.decay_start, schedule.steps)
    run_stage(args, stage, load_initial(args, stage), Settings(optimiser, schedule, objective, rollouts))


if __name__ == "__main__":
    script.run(main)
