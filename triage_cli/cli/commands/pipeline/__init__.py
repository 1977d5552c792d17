"""Commands of the pipeline: store, classify, decide by a person, and route."""
