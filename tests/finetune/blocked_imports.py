"""Processes in which what an exported file must not need cannot be imported."""

# Goes before a script.
_BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not there")

sys.meta_path.insert(0, Blocked())
"""


def without(blocked: tuple[str, ...], script: str) -> str:
    """``script``, in which importing any of the packages ``blocked`` fails."""
    return _BLOCK.format(blocked=blocked) + script
