# Stage 3: what each model answers, and how right that is.


rule sample:
    input:
        model="<results>/{task}/{method}/eta={eta}/seed={seed}/model",
        examples="<results>/{task}/examples",
        tokenizer="<results>/{task}/tokenizer",
        policy=JOBS.base_model,
    output:
        samples="<results>/{task}/{method}/eta={eta}/seed={seed}/samples.jsonl",
        repair="<results>/{task}/{method}/eta={eta}/seed={seed}/repair.json",
        shown="<results>/{task}/{method}/eta={eta}/seed={seed}/shown.jsonl",
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/sample.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/sample.tsv"
    group:
        "evaluate"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.sample.threads
    resources:
        **JOBS.resources("sample"),
    params:
        call=rule_parameter("sample", JOBS.sample_options),
    shell:
        command("""sample {params.call[options]} --seed {wildcards.seed} --model {input.model}
            --examples {input.examples} --tokenizer {input.tokenizer} --policy {input.policy} --output {output.samples}
            --repair {output.repair} --showcase {output.shown} --gpus {resources.gpu}""")


rule judge:
    input:
        samples="<results>/{task}/{method}/eta={eta}/seed={seed}/samples.jsonl",
        model="<results>/{task}/{method}/eta={eta}/seed={seed}/model",
        examples="<results>/{task}/examples",
        tokenizer="<results>/{task}/tokenizer",
        judge=JOBS.judge_model,
        network=lambda w: JOBS.files_of(JOBS.in_force(w)["evaluation"].judge),
    output:
        judged="<results>/{task}/{method}/eta={eta}/seed={seed}/judged.json",
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/judge.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/judge.tsv"
    wildcard_constraints:
        task=TEXT_TASKS,
    group:
        "evaluate"
    conda:
        "../../envs/judge.yaml"
    threads: CONFIG.jobs.sample.threads
    resources:
        **JOBS.resources("sample"),
    params:
        call=rule_parameter("judge", JOBS.judge_options),
    shell:
        command("""judge {params.call[options]} --samples {input.samples} --model {input.model}
            --examples {input.examples} --tokenizer {input.tokenizer} --output {output.judged}
            --gpus {resources.gpu}""")


rule score:
    input:
        samples="<results>/{task}/{method}/eta={eta}/seed={seed}/samples.jsonl",
        repair="<results>/{task}/{method}/eta={eta}/seed={seed}/repair.json",
        model="<results>/{task}/{method}/eta={eta}/seed={seed}/model",
        examples="<results>/{task}/examples",
        judged=JOBS.judged,
    output:
        metrics="<results>/{task}/{method}/eta={eta}/seed={seed}/metrics.json",
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/score.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/score.tsv"
    group:
        "evaluate"
    conda:
        "../../envs/report.yaml"
    threads: CONFIG.jobs.report.threads
    resources:
        **JOBS.resources("report"),
    params:
        call=rule_parameter("score", JOBS.run_options),
    shell:
        command("""score {params.call[options]} --samples {input.samples} --repair {input.repair} --model {input.model}
            --examples {input.examples} --output {output.metrics}""")
