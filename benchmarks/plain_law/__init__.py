"""A project on plain law, as its documentation has it: what batch jobs cost, and what goes wrong, without the engine."""
