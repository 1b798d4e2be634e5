"""What to cite."""

CITATION = """\
If you use this software, please cite the method and the model that it builds on:

  Stirn A, Knowles DA. The VampPrior Mixture Model. arXiv:2402.04412, 2024.
  Lopez R, Regier J, Cole MB, Jordan MI, Yosef N. Deep generative modeling for single-cell
    transcriptomics. Nature Methods 15, 1053-1058, 2018. doi:10.1038/s41592-018-0229-2

@misc{stirn2024vampprior,
  title  = {The {VampPrior} Mixture Model},
  author = {Stirn, Andrew and Knowles, David A.},
  year   = {2024},
  eprint = {2402.04412},
  archivePrefix = {arXiv},
}
@article{lopez2018deep,
  title   = {Deep generative modeling for single-cell transcriptomics},
  author  = {Lopez, Romain and Regier, Jeffrey and Cole, Michael B. and Jordan, Michael I. and
             Yosef, Nir},
  journal = {Nature Methods},
  volume  = {15},
  pages   = {1053--1058},
  year    = {2018},
  doi     = {10.1038/s41592-018-0229-2},
}
"""
