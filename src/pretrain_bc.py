"""Behavioural cloning for k steps: the common start of BC for the full budget and of SequenceMatch."""

from sequencematch import script
from sequencematch.settings.losses import BC_READS
from sequencematch.settings.training import add_training_settings, training_settings


def main() -> None:
    parser = script.parser(__doc__)
    add_training_settings(parser, BC_READS)
    script.add_initial_option(parser)
    script.add_stage_options(parser)
    args = parser.parse_args()
    optimiser, schedule, objective, _ = training_settings(args, BC_READS)

    from sequencematch.training.job import Settings, load_initial, run_stage
    from sequencematch.training.schedule import Stage

    stage = Stage("bc", 0, schedule.pretrain_steps, schedule.decay_start, schedule.steps)
    run_stage(args, stage, load_initial(args, stage), Settings(optimiser, schedule, objective))


if __name__ == "__main__":
    script.run(main, records=False)
