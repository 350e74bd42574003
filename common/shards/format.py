"""Names in a folder of shards, shared by those who write and those who read it (docs/files.md)."""

FORMAT = "auscult.shards/1"
INDEX = "index.json"
TABLE = "clips.parquet"
# In place of the index while shards are missing.
UNFINISHED = "unfinished.json"
# Columns of the manifest that go with a clip. No paths, since shards travel, and no labels, since pretraining reads none.
ABOUT = ("clip_id", "recording", "start_s", "end_s", "patient", "device", "site", "quality")


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"clips-{number:06d}.tar"
