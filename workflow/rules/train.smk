# Stage 2: one base model per seed, k steps of BC per noise level, and each method's further steps from there.


rule pretrain_base:
    input:
        noised="<results>/{task}/noised/eta=0/seed={seed}",
        tokenizer="<results>/{task}/tokenizer",
        network=lambda w: JOBS.files_of(JOBS.in_force(w)["model"].source),
    output:
        model=directory("<results>/{task}/base/seed={seed}/model"),
    log:
        "<logs>/{task}/base/seed={seed}/pretrain_base.log",
    benchmark:
        "<benchmarks>/{task}/base/seed={seed}/pretrain_base.tsv"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.train.threads
    resources:
        **JOBS.resources("train"),
        launcher=LAUNCHER,
    params:
        call=rule_parameter("pretrain_base", lambda w: JOBS.training_options(w, {"model": None, **BASE_READS})),
    shell:
        training("""pretrain_base {params.call[options]} --seed {wildcards.seed} --noised {input.noised}
            --tokenizer {input.tokenizer} --output {output.model} --gpus {resources.gpu}""")


rule pretrain_bc:
    input:
        noised="<results>/{task}/noised/eta={eta}/seed={seed}",
        tokenizer="<results>/{task}/tokenizer",
        initial=JOBS.base_model,
    output:
        model=directory("<results>/{task}/pretrain_bc/eta={eta}/seed={seed}/model"),
    log:
        "<logs>/{task}/pretrain_bc/eta={eta}/seed={seed}/pretrain_bc.log",
    benchmark:
        "<benchmarks>/{task}/pretrain_bc/eta={eta}/seed={seed}/pretrain_bc.tsv"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.train.threads
    resources:
        **JOBS.resources("train"),
        launcher=LAUNCHER,
    params:
        call=rule_parameter("pretrain_bc", lambda w: JOBS.training_options(w, BC_READS)),
    shell:
        training(
            """pretrain_bc {params.call[options]} --seed {wildcards.seed} --noised {input.noised}
            --tokenizer {input.tokenizer} --initial {input.initial} --output {output.model} --gpus {resources.gpu}"""
        )


rule finetune:
    input:
        noised="<results>/{task}/noised/eta={eta}/seed={seed}",
        tokenizer="<results>/{task}/tokenizer",
        initial=JOBS.initial_model,
    output:
        model=directory("<results>/{task}/{method}/eta={eta}/seed={seed}/model"),
    log:
        "<logs>/{task}/{method}/eta={eta}/seed={seed}/finetune.log",
    benchmark:
        "<benchmarks>/{task}/{method}/eta={eta}/seed={seed}/finetune.tsv"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.train.threads
    resources:
        **JOBS.resources("train"),
        launcher=LAUNCHER,
    params:
        call=rule_parameter("finetune", JOBS.finetune_options),
    shell:
        training(
            """finetune {params.call[options]} --seed {wildcards.seed} --noised {input.noised}
            --tokenizer {input.tokenizer} --initial {input.initial} --output {output.model} --gpus {resources.gpu}"""
        )
