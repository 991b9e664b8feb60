"""A project on plain law, as law documents it: what batch jobs cost, and what goes wrong, without the engine."""
