# Stage 3: what each model answers, and how right that is.


rule sample:
    input:
        model="<results>/{task}/{method}/eta={eta}/seed={seed}/model",
        data="<results>/{task}/data",
        tokenizer="<results>/{task}/tokenizer",
        policy=noise_policy,
    output:
        samples="<results>/{task}/{method}/eta={eta}/seed={seed}/samples.jsonl",
        repair="<results>/{task}/{method}/eta={eta}/seed={seed}/repair.json",
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/sample.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/sample.tsv"
    retries: 1
    group:
        "evaluate"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.sample.threads
    resources:
        mem_mb=ask("sample", "mem_mb"),
        runtime=ask("sample", "runtime"),
        gpu=CONFIG.jobs.sample.gpu,
    params:
        call=call("sample", sample_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/sample.py {params.call[options]} --seed {wildcards.seed}"
        " --model {input.model} --data {input.data} --tokenizer {input.tokenizer}"
        " --output {output.samples} --repair {output.repair} > {log} 2>&1"


rule score:
    input:
        samples="<results>/{task}/{method}/eta={eta}/seed={seed}/samples.jsonl",
        repair="<results>/{task}/{method}/eta={eta}/seed={seed}/repair.json",
        model="<results>/{task}/{method}/eta={eta}/seed={seed}/model",
        data="<results>/{task}/data",
    output:
        metrics="<results>/{task}/{method}/eta={eta}/seed={seed}/metrics.json",
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/score.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/score.tsv"
    retries: 1
    group:
        "evaluate"
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        mem_mb=ask("report", "mem_mb"),
        runtime=ask("report", "runtime"),
        gpu=CONFIG.jobs.report.gpu,
    params:
        call=call("score", run_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/score.py {params.call[options]} --samples {input.samples}"
        " --repair {input.repair} --model {input.model} --data {input.data} --output {output.metrics} > {log} 2>&1"
