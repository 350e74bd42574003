"""The service: one bundle, HTTP, metrics. Knows the bundle's files and nothing else of this project."""
