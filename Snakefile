# The workflow is in workflow/, as the catalogue of Snakemake workflows has it; plain `snakemake` finds it, with profiles/, from here.
include: "workflow/Snakefile"


workflow.default_target = "all"  # Snakemake forgets that of an included file
