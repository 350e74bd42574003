"""The service: one model file, HTTP, a page. Knows the file's signature and nothing else of this project."""
