# Stage 1: generated questions, their tokenizer, and noise.


rule make_dataset:
    output:
        data=directory("<results>/{task}/data"),
    log:
        "<logs>/{task}/make_dataset.log",
    benchmark:
        "<benchmarks>/{task}/make_dataset.tsv"
    retries: 1
    group:
        "prepare"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
        gpu=CONFIG.jobs.data.gpu,
    params:
        call=call("make_dataset", lambda wildcards: settings(wildcards, data=None)),
    shell:
        "OMP_NUM_THREADS={threads} python src/make_dataset.py {params.call[options]} --workers {threads}"
        " --output {output.data} > {log} 2>&1"


rule train_tokenizer:
    input:
        data="<results>/{task}/data",
    output:
        tokenizer=directory("<results>/{task}/tokenizer"),
    log:
        "<logs>/{task}/train_tokenizer.log",
    benchmark:
        "<benchmarks>/{task}/train_tokenizer.tsv"
    retries: 1
    group:
        "prepare"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
        gpu=CONFIG.jobs.data.gpu,
    params:
        call=call("train_tokenizer", tokenizer_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/train_tokenizer.py {params.call[options]}"
        " --data {input.data} --output {output.tokenizer} > {log} 2>&1"


rule inject_noise:
    input:
        data="<results>/{task}/data",
        tokenizer="<results>/{task}/tokenizer",
        policy=injected_policy,
    output:
        noised=directory("<results>/{task}/noised/eta={eta}/seed={seed}"),
    log:
        "<logs>/{task}/noised/eta={eta}/seed={seed}/inject_noise.log",
    benchmark:
        "<benchmarks>/{task}/noised/eta={eta}/seed={seed}/inject_noise.tsv"
    retries: 1
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        mem_mb=ask("data", "mem_mb"),
        runtime=ask("data", "runtime"),
        gpu=CONFIG.jobs.data.gpu,
    params:
        call=call("inject_noise", noise_options, injected_unused),
    shell:
        "OMP_NUM_THREADS={threads} python src/inject_noise.py {params.call[options]} --eta {wildcards.eta}"
        " --seed {wildcards.seed} --data {input.data} --tokenizer {input.tokenizer}"
        " --output {output.noised} > {log} 2>&1"
