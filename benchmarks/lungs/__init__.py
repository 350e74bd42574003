"""What the benchmark on real recordings is made of: datasets, recipes, packaged predictions and their figures."""
