"""Objects that are rebuilt from their own description."""

import copy
import pickle
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pytest
import torch
from torch import nn

from common.described import Described, build
from common.errors import UserError


class Leaf(Described):
    def __init__(self, width: int, scale: float = 1.0) -> None:
        if width < 1:
            raise ValueError(f"width is {width}")
        self.width, self.scale = width, scale


class Layer(Described, nn.Module):
    def __init__(self, width: int, names: list[str] | None = None, *, inner: Leaf | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.names, self.inner = names, inner


class Twice(Layer):
    """A subclass of a subclass, whose constructor differs from what it passes on."""

    def __init__(self, half: int) -> None:
        super().__init__(2 * half, names=["a"])


class AsItsBase(Layer):
    """Takes its base's constructor."""


class Open(Described):
    def __init__(self, name: str, **options: int) -> None:
        self.name, self.options = name, options


class Bare(Described, nn.Module):
    """No constructor of its own."""


class Colour(StrEnum):
    RED = "red"


@dataclass
class Made(Described):
    width: int


def again(thing: Described) -> Described:
    return build(thing.describe(), Described)


def test_positional_default_and_keyword_arguments_are_recorded_by_name():
    assert Layer(3, ["x"]).describe() == {
        "class_path": f"{__name__}.Layer",
        "init_args": {"width": 3, "names": ["x"], "inner": None},
    }


def test_only_the_outermost_constructor_is_recorded():
    assert Twice(2).describe()["init_args"] == {"half": 2}
    assert again(Twice(2)).linear.in_features == 4
    assert AsItsBase(5).describe() == {"class_path": f"{__name__}.AsItsBase", "init_args": {"width": 5, "names": None, "inner": None}}
    assert isinstance(again(AsItsBase(5)), AsItsBase)


def test_described_arguments_are_described_and_rebuilt():
    layer = again(Layer(2, inner=Leaf(3, scale=0.5)))
    assert isinstance(layer.inner, Leaf)
    assert (layer.inner.width, layer.inner.scale) == (3, 0.5)


def test_keyword_arguments_without_a_name_of_their_own_are_recorded_flat():
    thing = Open("x", depth=3)
    assert thing.describe()["init_args"] == {"name": "x", "depth": 3}
    assert again(thing).options == {"depth": 3}


def test_arguments_without_a_name_are_refused_where_the_class_is_defined():
    with pytest.raises(TypeError, match="sizes"):

        class Variadic(Described):
            def __init__(self, *sizes: int) -> None: ...


def test_a_class_without_constructor():
    assert Bare().describe()["init_args"] == {}
    assert isinstance(again(Bare()), Bare)


def test_the_record_survives_copies_pickles_and_later_changes():
    names = ["a"]
    layer = Layer(2, names)
    description = layer.describe()
    names.append("b")
    assert layer.describe() == description
    assert copy.deepcopy(layer).describe() == description
    assert pickle.loads(pickle.dumps(layer)).describe() == description


def test_wrong_calls_fail_as_they_would_without_a_record():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'width'"):
        Layer()
    with pytest.raises(TypeError, match="unexpected keyword argument 'hight'"):
        Layer(1, hight=3)


def test_subclasses_of_primitives_become_primitives(tmp_path):
    description = Open(Colour.RED, depth=np.float64(2.5)).describe()
    assert description["init_args"] == {"name": "red", "depth": 2.5}
    assert [type(value) for value in description["init_args"].values()] == [str, float]
    torch.save(description, tmp_path / "d.pt")
    assert torch.load(tmp_path / "d.pt", weights_only=True) == description


@pytest.mark.parametrize("value", [np.int64(3), torch.tensor(1), {1: 2}, object()])
def test_what_cannot_be_saved_is_refused_by_name(value):
    with pytest.raises(TypeError, match=r"Leaf\(width\) is a"):
        thing = Leaf.__new__(Leaf)
        thing.__dict__["_init_args"] = {"width": value}
        thing.describe()


def test_classes_that_cannot_be_found_again_are_refused():
    class Local(Described):
        pass

    with pytest.raises(TypeError, match="inside another block"):
        Local().describe()
    with pytest.raises(TypeError, match="not recorded"):
        Made(3).describe()


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ({"class_path": "nowhere.Layer"}, "Unknown class 'nowhere.Layer'"),
        ({"class_path": "common.described.Nothing"}, "Unknown class"),
        ({"class_path": ""}, "Unknown class ''"),
        ({}, "Unknown class"),
        ({"class_path": "pathlib.Path"}, "pathlib.Path is not a Described"),
        ({"class_path": f"{__name__}.Leaf", "init_args": {"widht": 3}}, "refuses its arguments"),
        ({"class_path": f"{__name__}.Leaf", "init_args": {"width": 0}}, "width is 0"),
    ],
)
def test_build_refuses_with_one_sentence(description, reason):
    with pytest.raises(UserError, match=reason) as caught:
        build(description, Described)
    assert "\n" not in str(caught.value)


def test_build_wants_the_base_that_was_asked_for():
    with pytest.raises(UserError, match="is not a Module"):
        build(Leaf(1).describe(), nn.Module)
