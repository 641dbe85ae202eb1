"""Speed and memory of the main jobs; `make bench` prints the table of docs/benchmarks.md."""
