# Measurements of what steps and sampling cost (tables 3 and 4). They are not part of the target all. A measuring job
# takes all cores, so that no other job runs at the same time, and computes with the threads of a training job.
# MKL_NUM_THREADS is set too: Snakemake sets it to the job's cores, and torch reads it first.


localrules:
    make_overhead_table,
    make_benchmark_table,
    plot_growth,


rule measure_overheads:
    input:
        network=JOBS.overhead_network_files,
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
        call=call("measure_overheads", JOBS.overhead_options),
    shell:
        "OMP_NUM_THREADS={resources.torch_threads} MKL_NUM_THREADS={resources.torch_threads}"
        " python src/measure_overheads.py --part {wildcards.part} {params.call[options]}"
        " --output {output.measured} --gpus {resources.gpu} > {log} 2>&1"


rule make_overhead_table:
    input:
        measured="<results>/overheads/{overhead}/steps",
    output:
        csv=report(
            "<results>/overheads/{overhead}.csv",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled_costs("numbers"),
        ),
        markdown="<results>/overheads/{overhead}.md",
        figure=report(
            "<results>/overheads/{overhead}.png",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled_costs("figure"),
        ),
    log:
        "<logs>/overheads/{overhead}/table.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/table.tsv"
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=call("make_overhead_table", JOBS.overhead_title),
    shell:
        "OMP_NUM_THREADS={threads} python src/make_overhead_table.py --measured {input.measured}"
        " --table {wildcards.overhead} {params.call[options]} --csv {output.csv} --markdown {output.markdown}"
        " --figure {output.figure} > {log} 2>&1"


rule make_benchmark_table:
    input:
        measured="<results>/overheads/{overhead}/{part}",
    output:
        csv=report(
            "<results>/overheads/{overhead}_{part}.csv",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled_costs("numbers of {part}"),
        ),
        markdown="<results>/overheads/{overhead}_{part}.md",
    log:
        "<logs>/overheads/{overhead}/{part}_table.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/{part}_table.tsv"
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=call("make_benchmark_table"),
    shell:
        "OMP_NUM_THREADS={threads} python src/make_benchmark_table.py --measured {input.measured}"
        " --benchmark {wildcards.part} --csv {output.csv} --markdown {output.markdown} > {log} 2>&1"


rule plot_growth:
    input:
        measured="<results>/overheads/{overhead}/growth",
    output:
        figure=report(
            "<results>/overheads/{overhead}_growth.png",
            caption="../captions/costs.rst",
            category="Costs",
            labels=JOBS.titled_costs("figure of growth"),
        ),
    log:
        "<logs>/overheads/{overhead}/plot_growth.log",
    benchmark:
        "<benchmarks>/overheads/{overhead}/plot_growth.tsv"
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=call("plot_growth"),
    shell:
        "OMP_NUM_THREADS={threads} python src/plot_growth.py --measured {input.measured} --output {output.figure}"
        " > {log} 2>&1"
