# The map: what the cells around a default one scored, where the scale has a map.


localrules:
    make_map,


rule make_map:
    input:
        metrics=map_metrics,
    output:
        folder=report(
            directory("<results>/map"),
            patterns=["{figure}.png"],
            caption="../captions/map.rst",
            category="Map",
            labels=titled_axis,
        ),
    log:
        "<logs>/make_map.log",
    benchmark:
        "<benchmarks>/make_map.tsv"
    retries: 1
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        mem_mb=ask("report", "mem_mb"),
        runtime=ask("report", "runtime"),
        gpu=CONFIG.jobs.report.gpu,
    params:
        call=call("make_map", map_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/make_map.py {params.call[options]} --output {output.folder} > {log} 2>&1"
