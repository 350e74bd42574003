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
    the description is asked for, not silently when a checkpoint is opened. A constructor names its arguments: ``**kwargs`` are
    recorded by their names, ``*args`` have none and are refused where the class is defined.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        constructor = cls.__init__
        signature = inspect.signature(constructor)
        for parameter in signature.parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY) and parameter.name != "self":
                raise TypeError(
                    f"{cls.__qualname__}({parameter.name}): a described class is rebuilt by its arguments' names; name them all."
                )

        @functools.wraps(constructor)
        def recording(self: Any, *args: Any, **kwargs: Any) -> None:
            # Into __dict__, since nn.Module forbids setting attributes before its own __init__. Only the outermost call finds
            # it missing: a subclass's arguments are not overwritten by those that it passes to its base.
            if "_init_args" not in self.__dict__:
                self.__dict__["_init_args"] = _bind(signature, self, args, kwargs)
            constructor(self, *args, **kwargs)

        cls.__init__ = recording  # type: ignore[method-assign]

    def describe(self) -> dict[str, Any]:
        """Return ``{"class_path": ..., "init_args": {...}}`` of primitives, from which `build` makes an equal object.

        Raises:
            TypeError: an argument is no primitive, or the class cannot be found again by its name.
        """
        cls = type(self)
        path = f"{cls.__module__}.{cls.__qualname__}"
        if cls.__qualname__ != cls.__name__:
            raise TypeError(f"{path} is defined inside another block: only a class at the top of its module can be found again.")
        if "_init_args" not in self.__dict__ and _takes_arguments(cls):
            raise TypeError(f"The arguments of {path} were not recorded: its constructor was made after the class, as @dataclass does.")
        arguments = self.__dict__.get("_init_args", {})
        return {"class_path": path, "init_args": {name: _primitive(value, f"{path}({name})") for name, value in arguments.items()}}


def _bind(signature: inspect.Signature, self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Argument name -> value with the defaults filled in; empty where the call is wrong, which the constructor itself will say."""
    try:
        bound = signature.bind(self, *args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    arguments: dict[str, Any] = {}
    for index, (name, value) in enumerate(bound.arguments.items()):
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif index:
            arguments[name] = value
    # A list that its owner changes later must not change what was recorded.
    return {name: _copied(value) for name, value in arguments.items()}


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_copied(item) for item in value]
    return value


def _takes_arguments(cls: type) -> bool:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    return any(parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) for parameter in parameters)


def _primitive(value: Any, where: str) -> Any:
    if isinstance(value, Described):
        return value.describe()
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str(key): _primitive(item, where) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_primitive(item, where) for item in value]
    if value is None or isinstance(value, bool):
        return value
    # numpy's float64 and string enumerations are subclasses of these, and torch.load(weights_only=True) refuses them.
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind.__str__(value) if kind is str else kind(value)
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
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} refuses its arguments {arguments}: {error}.") from error


def _rebuild(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"class_path", "init_args"}:
        return build(value, Described)
    if isinstance(value, dict):
        return {key: _rebuild(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rebuild(item) for item in value]
    return value
