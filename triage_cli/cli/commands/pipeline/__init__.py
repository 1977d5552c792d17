"""Commands of the job: store, classify and route."""
