# Stage 1: rows of text, their tokenizer, examples of token ids, and noise.


rule make_dataset:
    input:
        corpus=JOBS.corpus_files,
    output:
        data=directory("<results>/{task}/data"),
    log:
        "<logs>/{task}/make_dataset.log",
    benchmark:
        "<benchmarks>/{task}/make_dataset.tsv"
    group:
        "prepare"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        **JOBS.resources("data"),
    params:
        call=rule_parameter(lambda w: f"make_{CONFIG.tasks[w.task].data.family}", JOBS.dataset_options),
    shell:
        command("{params.call[script]} {params.call[options]} --output {output.data}")


rule train_tokenizer:
    input:
        data="<results>/{task}/data",
        network=JOBS.tokenizer_files,
    output:
        tokenizer=directory("<results>/{task}/tokenizer"),
    log:
        "<logs>/{task}/train_tokenizer.log",
    benchmark:
        "<benchmarks>/{task}/train_tokenizer.tsv"
    group:
        "prepare"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        **JOBS.resources("data"),
    params:
        call=rule_parameter("train_tokenizer", JOBS.tokenizer_options),
    shell:
        command("train_tokenizer {params.call[options]} --data {input.data} --output {output.tokenizer}")


rule encode_examples:
    input:
        data="<results>/{task}/data",
        tokenizer="<results>/{task}/tokenizer",
    output:
        examples=directory("<results>/{task}/examples"),
    log:
        "<logs>/{task}/encode_examples.log",
    benchmark:
        "<benchmarks>/{task}/encode_examples.tsv"
    group:
        "prepare"
    conda:
        "../../envs/data.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        **JOBS.resources("data"),
    params:
        call=rule_parameter("encode_examples", JOBS.examples_options),
    shell:
        command("""encode_examples {params.call[options]} --data {input.data} --tokenizer {input.tokenizer}
            --output {output.examples}""")


rule inject_noise:
    input:
        examples="<results>/{task}/examples",
        tokenizer="<results>/{task}/tokenizer",
        policy=JOBS.injected_policy,
    output:
        noised=directory("<results>/{task}/noised/eta={eta}/seed={seed}"),
    log:
        "<logs>/{task}/noised/eta={eta}/seed={seed}/inject_noise.log",
    benchmark:
        "<benchmarks>/{task}/noised/eta={eta}/seed={seed}/inject_noise.tsv"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        **JOBS.resources("data"),
    params:
        call=rule_parameter("inject_noise", JOBS.noise_options, lambda w: () if JOBS.injected_policy(w) else MODEL_CODE),
    shell:
        command("""inject_noise {params.call[options]} --eta {wildcards.eta} --seed {wildcards.seed}
            --examples {input.examples} --tokenizer {input.tokenizer} --output {output.noised}""")
