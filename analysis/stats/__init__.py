"""Statistical inference: from templates to the fitted parameters, by cabinetry and pyhf.

==================  ====================================================================
module              what it does
==================  ====================================================================
``published``       reads the histograms that the AGC published, as templates
``binning``         re-bins a histogram to the edges of the fit
``observation``     what the model is fitted to: data, pseudo-data or the prediction
``usable``          which part of the model the templates support, and which they forbid
``workspace``       templates and statistical model to a pyhf workspace
``fit``             maximum-likelihood fit of a workspace
``covariance``      uncertainties and correlations of a fit
``prediction``      yields before and after the fit, with uncertainties
``published_fits``  results that were published with the AGC, as numbers
``compare``         our fit of the published histograms against them
==================  ====================================================================

Nothing is imported here, so that ``import analysis.stats`` costs nothing.
"""
