"""Say which rules would run, and why: ``why.py TARGET ... [OPTION ...]``, as on Snakemake's command line.

Nothing runs. Each rule comes with its number of jobs, the time they took when they last ran, and the causes: changed
files of its code, changed settings (old value -> new), missing outputs, or another rule that runs before it.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from plan import counted, duration, in_words, is_started, options_of, planned, real_jobs, recorded_call, seconds
from snakemake.jobs import Job
from snakemake.workflow import Workflow

NAMED = 3  # files, rules and values that are named one by one; of more, the rest is counted
LONGEST = 200  # characters of a value that is written out
AFTER = "after {}"


# A sentence and its subject: ("{} changed", "src/score.py"). The subjects of equal sentences are listed together.
Cause = tuple[str, str]


def main() -> None:
    with planned(sys.argv[1:]) as workflow:
        rules = causes_by_rule(workflow)
        if rules:
            for rule, concerned in rules.items():
                print(row(workflow, rule, concerned))
            print(in_total(workflow))
        else:
            print("Nothing would run.")
        unknown = [
            job for job in real_jobs(workflow) if workflow.dag.reason(job).no_metadata and not workflow.dag.needrun(job)
        ]
        if unknown:
            print(
                f"{counted(unknown, 'result')} without a record in .snakemake/ of how they were made: they count as up "
                "to date, whatever code and settings made them."
            )


def causes_by_rule(workflow: Workflow) -> dict[str, dict[Cause, set[Job]]]:
    """The causes of each rule that would run, in the Snakefile's order, with the jobs that each cause concerns."""
    rules: dict[str, dict[Cause, set[Job]]] = {}
    for job in real_jobs(workflow):
        if workflow.dag.needrun(job):
            concerned = rules.setdefault(job.rule.name, {})
            before = {d.rule.name for d in workflow.dag.dependencies[job] if workflow.dag.needrun(d)}
            for cause in [*causes(workflow, job)] or [(AFTER, name) for name in sorted(before)]:
                concerned.setdefault(cause, set()).add(job)
    return {rule.name: rules[rule.name] for rule in workflow.rules if rule.name in rules}


def causes(workflow: Workflow, job: Job) -> Iterator[Cause]:
    """Why this job would run, apart from other jobs that run before it."""
    reason, records = workflow.dag.reason(job), workflow.persistence
    missing = [file for file in job.output if not Path(file).exists()]
    if is_started(workflow, job):
        yield "started, but not finished", ""
    elif missing and not records.has_metadata(job):
        yield "never run", ""
    else:
        yield from (("{} missing", file) for file in missing)
    yield from (("{} changed", file) for file in sorted(reason.updated_input))
    old, new = recorded_call(workflow, job), job.params.call
    if old is not None:
        yield from changed_code(old["code"], new["code"])
        yield from changed_options(options_of(old), options_of(new))
    if any(records.code_changed(job)):
        yield "the rule's command changed", ""
    if any(records.software_stack_changed(job)):
        file = os.path.relpath(job.conda_env_spec.file.get_path_or_uri(secret_free=True))
        yield f"{file}, or how it is deployed, changed", ""
    if any(records.input_changed(job)):
        yield "it reads other files than before", ""


def changed_code(old: dict[str, str], new: dict[str, str]) -> Iterator[Cause]:
    """The files of a job's code that were changed, added or removed."""
    for file in sorted(old.keys() | new.keys()):
        if file not in old:
            yield "{} is used now", f"src/{file}"
        elif file not in new:
            yield "{} is no longer used", f"src/{file}"
        elif old[file] != new[file]:
            yield "{} changed", f"src/{file}"


def changed_options(old: dict[str, str], new: dict[str, str]) -> Iterator[Cause]:
    """Changed options, by the name that a setting has in the configuration."""
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            before, after = old.get(name, "not given"), new.get(name, "not given")
            if max(len(before), len(after)) > LONGEST:
                yield "{} changed", name
            else:
                sentence = f"{name} {before} -> {after}"
                yield sentence.replace("{", "{{").replace("}", "}}"), ""  # text in braces is no subject


def row(workflow: Workflow, rule: str, concerned: dict[Cause, set[Job]]) -> str:
    told: dict[tuple, tuple[list[str], set[Job]]] = {}
    for (sentence, subject), jobs in concerned.items():
        # Merge causes about result files: list each once for all jobs.
        whom = None if subject.startswith("results/") else frozenset(jobs)
        subjects, among = told.setdefault((sentence, whom), ([], set()))
        subjects.append(subject)
        among |= jobs
    ordered = sorted(told.items(), key=lambda item: item[0][0] == AFTER)  # what is plain to see comes last
    sentences = [
        sentence.format(listed(subjects)) + scope(workflow, rule, among) for (sentence, _), (subjects, among) in ordered
    ]
    jobs = set().union(*concerned.values())
    return f"{rule} ({counted(jobs, 'job')}, {time_of(jobs)}): {'; '.join(sentences)}"


def scope(workflow: Workflow, rule: str, jobs: set[Job]) -> str:
    """Which of the rule's jobs these are, such as ' (method sm, sm_js)'. Empty if they are all of them."""
    within = [job for job in real_jobs(workflow) if job.rule.name == rule]
    parts = []
    for name in within[0].wildcards.keys():  # noqa: SIM118 (iterating over wildcards gives their values)
        values = sorted({job.wildcards[name] for job in jobs})
        closer = [job for job in within if job.wildcards[name] in values]
        if len(closer) < len(within):
            parts.append(f"{name} {listed(values)}")
            within = closer
    return f" ({'; '.join(parts)})" if parts else ""


def listed(names) -> str:
    """The first names in words, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + rest


def time_of(jobs: set[Job]) -> str:
    known = [time for time in map(seconds, jobs) if time is not None]
    rest = f", {len(jobs) - len(known)} not measured yet" if len(known) < len(jobs) else ""
    return in_words(sum(known)) + rest if known else "not measured yet"


def in_total(workflow: Workflow) -> str:
    times = {job: seconds(job) for job in real_jobs(workflow) if workflow.dag.needrun(job)}
    known = {job: time for job, time in times.items() if time is not None}
    least = in_words(duration(workflow, known))
    rest = f", and {counted(times.keys() - known, 'job')} not measured yet" if len(known) < len(times) else ""
    cores = workflow.global_resources["_cores"].value
    return f"{counted(times, 'job')} would run: about {least} on {cores} cores by their last runs{rest}."


if __name__ == "__main__":
    main()
