"""Embeddings laid out on a page, neighbours near each other."""

import numpy as np

# Below, a map shows nothing.
FEWEST_CLIPS = 10
PCA_DIMENSIONS = 50
PERPLEXITY = 30.0


def lay_out(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Places in two dimensions, [n, 2], of embeddings [n, D]: unit length, PCA to 50 dimensions, then t-SNE.

    Neighbourhoods can be trusted; distances between far groups, and the sizes of groups, mean nothing.

    Reference:
        van der Maaten and Hinton 2008, "Visualizing data using t-SNE"; begun from the principal components as Kobak and Berens
        2019, "The art of using t-SNE for single-cell transcriptomics", advise.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.preprocessing import normalize

    unit = normalize(embeddings.astype(np.float64))
    reduced = PCA(min(PCA_DIMENSIONS, *unit.shape), svd_solver="full").fit_transform(unit)
    perplexity = min(PERPLEXITY, (len(unit) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(reduced)
