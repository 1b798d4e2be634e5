"""The benchmark: methods on data sets, trained, scored and gathered as rows; knows no Snakemake."""
