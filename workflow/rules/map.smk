# The map: the scores of a default cell and of the cells around it, at scales that have a map.


rule make_map:
    input:
        metrics=JOBS.map_metrics,
    output:
        folder=report(
            directory("<results>/map"),
            patterns=["{figure}.png"],
            caption="../captions/map.rst",
            category="Map",
            labels=JOBS.titled_axis,
        ),
    log:
        "<logs>/make_map.log",
    benchmark:
        "<benchmarks>/make_map.tsv"
    localrule: True
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("make_map", JOBS.map_options),
    shell:
        command("make_map {params.call[options]} --output {output.folder}")
