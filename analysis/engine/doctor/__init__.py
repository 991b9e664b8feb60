"""Is all here that a run needs? One small function per check; :mod:`~analysis.engine.doctor.examine` runs them."""
