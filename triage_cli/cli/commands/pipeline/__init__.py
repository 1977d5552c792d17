"""Commands of the job: store, classify, decide by a person, and route."""
