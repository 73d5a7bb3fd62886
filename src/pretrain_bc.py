"""Behavioural cloning for k steps: the common start of BC for the full budget and of SequenceMatch."""

from sequencematch import script
from sequencematch.settings.losses import BC_READS
from sequencematch.settings.options import add_settings, settings_from
from sequencematch.settings.training import Objective, Optimiser, Schedule


def main() -> None:
    parser = script.parser(__doc__)
    for section in (Optimiser, Schedule, Objective):
        add_settings(parser, section, BC_READS[section.group()])
    script.add_stage_options(parser)
    script.add_initial_option(parser)
    args = parser.parse_args()
    optimiser, schedule, objective = (
        settings_from(args, section, BC_READS[section.group()]) for section in (Optimiser, Schedule, Objective)
    )

    from sequencematch.training.stage import Settings, load_initial, run_stage
    from sequencematch.training.trainer import Stage

    stage = Stage("bc", 0, schedule.pretrain_steps, schedule.decay_start, schedule.steps)
    run_stage(args, stage, load_initial(args, stage), Settings(optimiser, schedule, objective))


if __name__ == "__main__":
    script.run(main)
