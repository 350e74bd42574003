"""Parts of ``benchmarks/pretrain_throughput.py``: the three ways to train that it compares, and how they are timed side by side."""
