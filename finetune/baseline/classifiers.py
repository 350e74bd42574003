"""What a baseline can fit: scikit-learn's classifiers, each with the options that matter for some hundred or thousand clips."""

from typing import Any, Literal

from common.described import Described

ClassWeights = Literal["balanced", "none"]


class BaselineClassifier(Described):
    """Settings of what is fitted to training clips: a `SklearnClassifier`, or `finetune.baseline.frame_network.FrameNetwork`."""


class SklearnClassifier(BaselineClassifier):
    """Makes one scikit-learn classifier.

    Attributes:
        standardise: give every feature mean 0 and standard deviation 1 over the training clips first.
    """

    standardise: bool = True

    def make(self, seed: int) -> Any:
        """A new classifier, not fitted; equal seeds fit equally."""
        raise NotImplementedError


class Logistic(SklearnClassifier):
    """Logistic regression with an L2 penalty.

    Args:
        c: inverse of the penalty's strength, above 0; of more features than clips take less than 0.1.
        class_weights: "balanced" makes all classes of a label pull equally, "none" every clip.
        standardise: see `SklearnClassifier`.
        max_iter: steps of L-BFGS.
    """

    def __init__(self, c: float = 1.0, class_weights: ClassWeights = "balanced", standardise: bool = True, max_iter: int = 5000) -> None:
        _positive(c=c, max_iter=max_iter)
        self.c, self.weights, self.standardise, self.max_iter = c, _weights(class_weights), standardise, max_iter

    def make(self, seed: int) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.c, class_weight=self.weights, max_iter=self.max_iter, random_state=seed)


class SupportVectors(SklearnClassifier):
    """Support vector machine. It has no probabilities: the sigmoid of its distances to the border (of classes that exclude each other,
    their softmax) stands for them, which ranks well and wants `report --calibration`.

    Args:
        cost: of clips on the wrong side of the margin, scikit-learn's C, above 0. Not named c: a command that only names another class
            keeps the arguments that both have, and a logistic regression's is another scale.
        kernel: "rbf" or "linear".
        gamma: of the kernel "rbf"; "scale" is 1 / (D x variance of the features).
        class_weights: "balanced" makes all classes of a label pull equally, "none" every clip.
        standardise: see `SklearnClassifier`.
    """

    def __init__(
        self,
        cost: float = 1.0,
        kernel: Literal["rbf", "linear"] = "rbf",
        gamma: float | Literal["scale"] = "scale",
        class_weights: ClassWeights = "balanced",
        standardise: bool = True,
    ) -> None:
        _positive(cost=cost, gamma=1.0 if gamma == "scale" else gamma)
        self.cost, self.kernel, self.gamma, self.weights, self.standardise = cost, kernel, gamma, _weights(class_weights), standardise

    def make(self, seed: int) -> Any:
        from sklearn.svm import SVC

        return SVC(C=self.cost, kernel=self.kernel, gamma=self.gamma, class_weight=self.weights, random_state=seed)


class RandomForest(SklearnClassifier):
    """Random forest: the mean of trees that are grown on draws of the clips and of the features.

    Args:
        num_trees: at least 1.
        max_depth: of a tree; None grows it until ``min_leaf`` stops it.
        min_leaf: clips in a leaf at least.
        class_weights: "balanced" makes all classes of a label pull equally in every tree's draw, "none" every clip.
    """

    standardise = False

    def __init__(
        self, num_trees: int = 500, max_depth: int | None = None, min_leaf: int = 2, class_weights: ClassWeights = "balanced"
    ) -> None:
        _positive(num_trees=num_trees, max_depth=1 if max_depth is None else max_depth, min_leaf=min_leaf)
        self.num_trees, self.max_depth, self.min_leaf = num_trees, max_depth, min_leaf
        self.weights = "balanced_subsample" if _weights(class_weights) else None

    def make(self, seed: int) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(
            self.num_trees, max_depth=self.max_depth, min_samples_leaf=self.min_leaf, class_weight=self.weights, random_state=seed
        )


class GradientBoosting(SklearnClassifier):
    """Gradient boosting of trees on histograms of the features (scikit-learn's HistGradientBoosting), of a fixed length.

    Args:
        num_trees: at least 1; no clip is set apart to stop earlier.
        lr: share of each tree that is added, above 0.
        max_leaves: of a tree, at least 2.
        min_leaf: clips in a leaf at least.
        l2: penalty on the leaves' values, at least 0.
        class_weights: "balanced" makes all classes of a label pull equally, "none" every clip.
    """

    standardise = False

    def __init__(
        self,
        num_trees: int = 200,
        lr: float = 0.05,
        max_leaves: int = 15,
        min_leaf: int = 20,
        l2: float = 1.0,
        class_weights: ClassWeights = "balanced",
    ) -> None:
        _positive(num_trees=num_trees, lr=lr, min_leaf=min_leaf)
        if max_leaves < 2 or l2 < 0:
            raise ValueError(f"max_leaves is {max_leaves} and l2 {l2:g}, expected at least 2 and at least 0")
        self.num_trees, self.lr, self.max_leaves, self.min_leaf, self.l2 = num_trees, lr, max_leaves, min_leaf, l2
        self.weights = _weights(class_weights)

    def make(self, seed: int) -> Any:
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(
            max_iter=self.num_trees,
            learning_rate=self.lr,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_leaf,
            l2_regularization=self.l2,
            class_weight=self.weights,
            early_stopping=False,
            random_state=seed,
        )


def _weights(class_weights: str) -> str | None:
    """scikit-learn's word.

    Raises:
        ValueError: it is another one.
    """
    if class_weights not in ("balanced", "none"):
        raise ValueError(f"class_weights is {class_weights!r}, expected 'balanced' or 'none'")
    return "balanced" if class_weights == "balanced" else None


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value:g}, expected a number above 0")
