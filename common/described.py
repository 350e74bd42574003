"""Objects that remember how they were made, so that a checkpoint opens alone.

A front end, encoder or augmentation is chosen in a config by ``class_path`` and ``init_args``. The same two words, kept with
the weights, rebuild it later without that config.
"""

import functools
import importlib
import inspect
from typing import Any, TypeVar

from common.errors import UserError

T = TypeVar("T")


class Described:
    """Base of the classes that a config can name: records the arguments of the outermost constructor call.

    Arguments must be numbers, strings, booleans, None, lists, dicts or other ``Described`` objects; anything else fails when
    the description is asked for, not silently when a checkpoint is opened.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        constructor = cls.__init__
        signature = inspect.signature(constructor)

        @functools.wraps(constructor)
        def recording(self: Any, *args: Any, **kwargs: Any) -> None:
            # nn.Module forbids attributes before its own __init__ but a plain object attribute is allowed.
            if "_init_args" not in self.__dict__:
                bound = signature.bind(self, *args, **kwargs)
                bound.apply_defaults()
                arguments = dict(bound.arguments)
                arguments.pop(next(iter(arguments)))
                self.__dict__["_init_args"] = arguments
            constructor(self, *args, **kwargs)

        cls.__init__ = recording  # type: ignore[method-assign]

    def describe(self) -> dict[str, Any]:
        """Return ``{"class_path": ..., "init_args": {...}}`` of primitives, from which `build` makes an equal object."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        arguments = self.__dict__.get("_init_args", {})
        return {"class_path": path, "init_args": {name: _primitive(value, f"{path}({name})") for name, value in arguments.items()}}


def _primitive(value: Any, where: str) -> Any:
    if isinstance(value, Described):
        return value.describe()
    if isinstance(value, dict):
        return {str(key): _primitive(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_primitive(item, where) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}: only numbers, strings, lists, dicts and described objects can be saved.")


def build(description: dict[str, Any], base: type[T]) -> T:
    """Make the object that ``description`` names.

    Args:
        description: what `Described.describe` returned, or the same from a file.
        base: class that the result must derive from; nothing else is imported and run.

    Raises:
        UserError: the class is unknown, is not a ``base``, or refuses the arguments.
    """
    path = description.get("class_path", "")
    module_name, _, class_name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"Unknown class {path!r}: expected a {base.__name__}; is the package that defines it installed?") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"{path} is not a {base.__name__}.")
    arguments = {name: _rebuild(value) for name, value in description.get("init_args", {}).items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise UserError(f"{path} refuses its arguments {sorted(arguments)}: {error}.") from error


def _rebuild(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"class_path", "init_args"}:
        return build(value, Described)
    if isinstance(value, dict):
        return {key: _rebuild(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rebuild(item) for item in value]
    return value
