# Stage 4: tables and figures. Each takes seconds, so it is made where Snakemake runs, on a cluster too.


rule make_table:
    input:
        metrics=lambda w: JOBS.metrics_of([w.table]),
        shown=lambda w: JOBS.shown_of([w.table]),
    output:
        csv=report(
            "<results>/tables/{table}.csv",
            caption="../captions/table.rst",
            category="Tables",
            labels=JOBS.titled("numbers"),
        ),
        markdown="<results>/tables/{table}.md",
        html=report(
            "<results>/tables/{table}.html",
            caption="../captions/table.rst",
            category="Tables",
            labels=JOBS.titled("page"),
        ),
        figure=report(
            "<results>/tables/{table}.png",
            caption="../captions/table.rst",
            category="Tables",
            labels=JOBS.titled("figure"),
        ),
    log:
        "<logs>/tables/{table}.log",
    benchmark:
        "<benchmarks>/tables/{table}.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_table", lambda w: f"--title {shlex.quote(CONFIG.tables[w.table].title)}"),
    shell:
        command("""make_table --table {wildcards.table} {params.call[options]} --metrics {input.metrics}
            --csv {output.csv} --markdown {output.markdown} --html {output.html} --figure {output.figure}""")


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
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("plot_motivating_example"),
    shell:
        command("plot_motivating_example --output {output.figure}")
