"""The workflow engine on top of luigi and law. It knows no physics.

Task authors use :class:`~analysis.engine.task.AnalysisTask` and :class:`~analysis.engine.workflow.AnalysisWorkflow`:
they declare parameters, ``requires``, ``output`` and ``run``, and get outputs that are complete or absent, never
half-written.
"""
