"""What the forms have in common: sparse columns, and shares of what may be nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


def one_hot(places: Array, width: int) -> Any:
    """Return a sparse matrix (rows x width) with a one at the place of each row."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rows = np.arange(len(places))
    return csr_matrix((np.ones(len(places)), (rows, places)), shape=(len(places), width))


def ratio(part: Array, whole: Array) -> Array:
    """Return shares; 0 where there is nothing to have a share of."""
    import numpy as np

    result: Array = np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)
    return result
