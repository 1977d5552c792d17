"""The use cases: plain values and ports, no SQL, no HTTP, no terminal."""
