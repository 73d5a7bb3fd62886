# The map: the scores of a default cell and of the cells around it, at scales that have a map.


MAP_RUNS = dict.fromkeys(side.run for reading in CONFIG.map_readings for side in reading.sides.values())
# The map, and the part of the configuration that it reads. The runs' files follow from them.
MAP_WORDS = ["--map", CONFIG.map.model_dump_json(exclude_defaults=True), "--noiseless", *CONFIG.noiseless]
MAP_WORDS += ["--results", RESULTS, "--seeds", *map(str, CONFIG.seeds)]


rule make_map:
    input:
        metrics=expand("<results>/{run}/seed={seed}/metrics.json", run=MAP_RUNS, seed=CONFIG.seeds),
    output:
        folder=report(
            directory("<results>/map"),
            patterns=["{figure}.png"],
            caption="../captions/map.rst",
            category="Map",
            labels=lambda w: {"figure": CONFIG.map.axes[w.figure].title if w.figure in CONFIG.map.axes else w.figure},
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
        call=rule_parameter("make_map", lambda w: shlex.join(MAP_WORDS)),
    shell:
        command("make_map {params.call[options]} --output {output.folder}")
