# Stage 5: one page about everything, and the figures that only this page has.


rule plot_learning_curves:
    input:
        metrics=JOBS.task_metrics,
        base=lambda w: expand(f"{RESULTS}/{CONFIG.base_task(w.task)}/base/seed={{seed}}/model", seed=CONFIG.seeds),
    output:
        figure=report(
            "<results>/figures/learning_curves/{task}.svg",
            caption="../captions/learning_curves.rst",
            category="Learning curves",
            labels={"task": "{task}"},
        ),
    log:
        "<logs>/figures/{task}/plot_learning_curves.log",
    benchmark:
        "<benchmarks>/figures/{task}/plot_learning_curves.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("plot_learning_curves"),
    shell:
        command("plot_learning_curves --metrics {input.metrics} --base {input.base} --output {output.figure}")


rule plot_masks:
    input:
        noised=f"<results>/{{task}}/noised/eta={max(CONFIG.etas):g}/seed={CONFIG.seeds[0]}",
        tokenizer="<results>/{task}/tokenizer",
    output:
        figure=report(
            "<results>/figures/masks/{task}.svg",
            caption="../captions/masks.rst",
            category="Masks",
            labels={"task": "{task}"},
        ),
    log:
        "<logs>/figures/{task}/plot_masks.log",
    benchmark:
        "<benchmarks>/figures/{task}/plot_masks.tsv"
    localrule: True
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report") | {"mem_mb": JOBS.resources("train")["mem_mb"]},
    params:
        call=rule_parameter("plot_masks"),
    shell:
        command("plot_masks --noised {input.noised} --tokenizer {input.tokenizer} --output {output.figure}")


rule plot_backspaces:
    input:
        metrics=JOBS.task_metrics,
        examples="<results>/{task}/examples",
        tokenizer="<results>/{task}/tokenizer",
    output:
        figure=report(
            "<results>/figures/backspaces/{task}.svg",
            caption="../captions/backspaces.rst",
            category="Backspaces",
            labels={"task": "{task}"},
        ),
    log:
        "<logs>/figures/{task}/plot_backspaces.log",
    benchmark:
        "<benchmarks>/figures/{task}/plot_backspaces.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("plot_backspaces"),
    shell:
        command("""plot_backspaces --metrics {input.metrics} --examples {input.examples} --tokenizer {input.tokenizer}
            --output {output.figure}""")


TITLES = [table.title for table in CONFIG.tables.values()]


rule make_report:
    input:
        metrics=JOBS.metrics_of(CONFIG.tables),
        tables=expand("<results>/tables/{table}.csv", table=CONFIG.tables),
        shown=JOBS.shown_of(CONFIG.tables),
        figures=expand("<results>/figures/{kind}/{task}.svg", kind=FIGURES, task=JOBS.table_tasks),
        motivating_example="<results>/figures/motivating_example.png",
        examples=expand("<results>/{task}/examples", task=JOBS.table_tasks),
        departures=project("docs/departures.md"),
        errata=project("docs/errata.md"),
    output:
        page=report("<results>/report.html", caption="../captions/page.rst", category="Page"),
    log:
        "<logs>/make_report.log",
    benchmark:
        "<benchmarks>/make_report.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_report", lambda w: shlex.join(["--results", RESULTS, "--titles", *TITLES])),
    shell:
        command("""make_report {params.call[options]} --metrics {input.metrics} --tables {input.tables}
            --departures {input.departures:q} --errata {input.errata:q} --output {output.page}""")
