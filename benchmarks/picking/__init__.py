"""How far pickers walk by each way of batching and routing: ``python -m benchmarks.picking`` writes ``results.md``."""
