"""Make the base model that every method starts from: trained from scratch here, a hub model at scale."""

from sequencematch import script
from sequencematch.settings.losses import BASE_READS
from sequencematch.settings.model import Model
from sequencematch.settings.options import add_settings
from sequencematch.settings.training import add_training_settings, training_settings


def main() -> None:
    parser = script.parser(__doc__)
    add_settings(parser, Model)
    add_training_settings(parser, BASE_READS)
    script.add_stage_options(parser)
    args = parser.parse_args()

    optimiser, schedule, objective, _ = training_settings(args, BASE_READS)

    from sequencematch.training.job import Settings, run_stage, scratch_or_pretrained
    from sequencematch.training.schedule import Stage

    start = scratch_or_pretrained(args)
    steps = schedule.base_steps  # no decay: the methods go on at the full learning rate
    stage = Stage("mle", start=0, stop=steps, decay_start=steps, total=steps)
    run_stage(args, stage, start, Settings(optimiser, schedule, objective))


if __name__ == "__main__":
    script.run(main, records=False)
