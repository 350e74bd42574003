"""Clips in WebDataset shards: more audio than fits one disk, streamed from a folder, a web server or object storage."""
