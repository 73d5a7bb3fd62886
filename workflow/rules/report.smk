# Stage 4: tables and figures.


rule make_table:
    input:
        metrics=table_metrics,
        paper="src/sequencematch/paper_tables.csv",
    output:
        csv=report(
            "<results>/tables/{table}.csv",
            caption="../captions/table.rst",
            category="Tables",
            labels={"table": "{table}", "form": "numbers"},
        ),
        markdown="<results>/tables/{table}.md",
        figure=report(
            "<results>/tables/{table}.png",
            caption="../captions/table.rst",
            category="Tables",
            labels={"table": "{table}", "form": "by method"},
        ),
    log:
        "<logs>/tables/{table}.log",
    benchmark:
        "<benchmarks>/tables/{table}.tsv"
    retries: 1
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        mem_mb=ask("report", "mem_mb"),
        runtime=ask("report", "runtime"),
    params:
        call=call("make_table", title_option),
    shell:
        "OMP_NUM_THREADS={threads} python src/make_table.py --table {wildcards.table} {params.call[options]}"
        " --paper {input.paper} --metrics {input.metrics} --csv {output.csv} --markdown {output.markdown}"
        " --figure {output.figure} > {log} 2>&1"


rule plot_motivating_example:
    output:
        figure=report(
            "<results>/figures/motivating_example.png",
            caption="../captions/motivating_example.rst",
            category="Motivating example",
            labels={"figure": "divergences"},
        ),
    log:
        "<logs>/figures/plot_motivating_example.log",
    benchmark:
        "<benchmarks>/figures/plot_motivating_example.tsv"
    retries: 1
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        mem_mb=ask("report", "mem_mb"),
        runtime=ask("report", "runtime"),
    params:
        call=call("plot_motivating_example"),
    shell:
        "OMP_NUM_THREADS={threads} python src/plot_motivating_example.py --output {output.figure} > {log} 2>&1"
