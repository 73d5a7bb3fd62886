# Measurements of what steps and sampling cost (tables 3 and 4). They are not part of the target all. A measuring job
# takes all cores, so that no other job runs at the same time, and computes with the threads of a training job.
# MKL_NUM_THREADS is set too: Snakemake sets it to the job's cores, and torch reads it first.


rule measure_overheads:
    input:
        network=lambda w: JOBS.files_of(CONFIG.overhead_settings(w.overhead)[1].source),
    output:
        measured=directory("<results>/overheads/{overhead}/{part}"),
    log:
        "<logs>/overheads/{overhead}/{part}.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/{part}.tsv"
    conda:
        "../../envs/train.yaml"
    threads: workflow.resource_settings.cores or CONFIG.jobs.train.threads
    resources:
        **JOBS.resources("train") | {"gpu": min(1, CONFIG.jobs.train.gpu)},
        torch_threads=CONFIG.jobs.train.threads,
    params:
        call=rule_parameter("measure_overheads", JOBS.overhead_options),
    shell:
        command(
            """measure_overheads --part {wildcards.part} {params.call[options]} --output {output.measured}
            --gpus {resources.gpu}""",
            start="OMP_NUM_THREADS={resources.torch_threads} MKL_NUM_THREADS={resources.torch_threads} python",
        )


rule make_overhead_table:
    input:
        measured="<results>/overheads/{overhead}/steps",
    output:
        csv=report(
            "<results>/overheads/{overhead}.csv",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled("numbers"),
        ),
        markdown="<results>/overheads/{overhead}.md",
        figure=report(
            "<results>/overheads/{overhead}.png",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled("figure"),
        ),
    log:
        "<logs>/overheads/{overhead}/table.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_cost_table", JOBS.overhead_title),
    shell:
        command("""make_cost_table --part steps --measured {input.measured} --table {wildcards.overhead}
            {params.call[options]} --csv {output.csv} --markdown {output.markdown} --figure {output.figure}""")


rule make_benchmark_table:
    input:
        measured="<results>/overheads/{overhead}/{part}",
    output:
        csv=report(
            "<results>/overheads/{overhead}_{part}.csv",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled("numbers of {part}"),
        ),
        markdown="<results>/overheads/{overhead}_{part}.md",
    log:
        "<logs>/overheads/{overhead}/{part}_table.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/{part}_table.tsv"
    wildcard_constraints:
        part="|".join(part for part in MEASUREMENTS if part != "growth"),
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_cost_table"),
    shell:
        command("""make_cost_table --part {wildcards.part} --measured {input.measured} --csv {output.csv}
            --markdown {output.markdown}""")


rule make_growth_table:
    input:
        measured="<results>/overheads/{overhead}/growth",
    output:
        csv=report(
            "<results>/overheads/{overhead}_growth.csv",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled("numbers of growth"),
        ),
        markdown="<results>/overheads/{overhead}_growth.md",
        figure=report(
            "<results>/overheads/{overhead}_growth.png",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled("figure of growth"),
        ),
    log:
        "<logs>/overheads/{overhead}/growth_table.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/growth_table.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_cost_table"),
    shell:
        command("""make_cost_table --part growth --measured {input.measured} --csv {output.csv}
            --markdown {output.markdown} --figure {output.figure}""")
