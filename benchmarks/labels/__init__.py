"""The parts of ``benchmarks.label_efficiency``: who is labelled, where networks start, the table and the picture."""
