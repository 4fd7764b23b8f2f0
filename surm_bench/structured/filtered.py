"""Structures made of one filter, or of a sum of products of two filters: products by FFT, dense forms in O(n²)."""

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from surm_bench.structured.algebra import Cost
from surm_bench.structured.convolution import Filter
from surm_bench.structured.diagonals import toeplitz_dense
from surm_bench.structured.structure import Structure
from surm_bench.structured.toeplitz_product import matrix_product, toeplitz_product
from surm_bench.structured.tracing import prefers_few_operations


class Filtered(Structure):
    """A structure made of one filter; the generator is the vector of the filter."""

    own_route: ClassVar[str] = "fft"

    @property
    @abstractmethod
    def filter(self) -> Filter:
        """The filter of shape (out_features, in_features)."""

    @property
    def cost(self) -> Cost:
        # Two transforms: x and back for the product, x and g for the gradient. A step of a layer of 768 starts 22
        # operations by fft and 16 by the dense route (circulant), or 26 and 9 (Toeplitz): up to 8 more for each of
        # product and gradient.
        return Cost(product=2 * self.filter.work, gradient=2 * self.filter.work, passes=1, operations=8)

    @property
    def values_per_token(self) -> int:
        return self.filter.length

    def dense(self, vector: Tensor) -> Tensor:
        return toeplitz_dense(self.filter.diagonals(vector), self.out_features, self.in_features)

    def prepare(self, vector: Tensor) -> tuple[Tensor]:
        return (self.filter.spectrum(vector),)

    def transform(self, x: Tensor) -> Tensor:
        return self.filter.transform(x)

    def product(self, x: Tensor, spectrum: Tensor) -> Tensor:
        return self.filter.inverse(x * spectrum, self.out_features)

    def adjoint(self, x: Tensor, g: Tensor, wants_x: bool, spectrum: Tensor) -> tuple[Tensor | None, tuple[Tensor]]:
        g = self.filter.transform(g)
        gradient = self.filter.gradient(x, g)
        if not wants_x:
            return None, (gradient,)
        return self.filter.inverse(g.mul_(spectrum.conj()), self.in_features), (gradient,)


class FilteredTwice(Structure):
    """A sum of r products of two filters; the generators are the vectors of the left and the right filters, (r, …)."""

    own_route: ClassVar[str] = "fft"

    @property
    def terms(self) -> int:
        """The number r of products in the sum."""
        return 1

    @property
    @abstractmethod
    def filters(self) -> tuple[Filter, Filter]:
        """The left and the right filter, of shapes (out_features, n) and (n, in_features)."""

    @property
    def cost(self) -> Cost:
        both = sum(f.work for f in self.filters)
        return Cost(
            product=(1 + self.terms) * both,
            gradient=(1 + 2 * self.terms) * both,
            passes=1 + self.terms,
            multiplied=self.terms * self.out_features * self.side * self.in_features,
            # A step of a layer of 768 starts 57 operations by fft and 22 by the dense route (symmetric Toeplitz), or 68
            # and 23 (LDR): 18 to 23 more for each of product and gradient. 26 favours the dense route a little.
            operations=26,
        )

    @property
    def values_per_token(self) -> int:
        return self.terms * self.filters[0].length

    def dense(self, left: Tensor, right: Tensor) -> Tensor:
        outer, inner = self.filters
        left, right = outer.diagonals(left), inner.diagonals(right)
        if prefers_few_operations(left.device):
            return matrix_product(left, right, self.side, self.in_features)
        return self.by_displacement(left, right)

    def by_displacement(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the dense matrix in O(n²), from the Toeplitz vectors of the left and the right filters."""
        return toeplitz_product(left, right, self.out_features, self.side, self.in_features)

    def prepare(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        outer, inner = self.filters
        return outer.spectrum(left)[:, None], inner.spectrum(right)[:, None]

    def transform(self, x: Tensor) -> Tensor:
        return self.filters[1].transform(x)

    def product(self, x: Tensor, left: Tensor, right: Tensor) -> Tensor:
        outer, inner = self.filters
        between = outer.transform(inner.inverse(x * right, inner.rows))  # (r, tokens, frequencies)
        return outer.inverse(between.mul_(left).sum(0), outer.rows)

    def adjoint(
        self, x: Tensor, g: Tensor, wants_x: bool, left: Tensor, right: Tensor
    ) -> tuple[Tensor | None, tuple[Tensor, Tensor]]:
        outer, inner = self.filters
        g = outer.transform(g)
        between = outer.transform(inner.inverse(x * right, inner.rows))
        gradient_left = outer.gradient(between, g)
        between = inner.transform(outer.inverse(g * left.conj(), outer.columns))
        gradients = gradient_left, inner.gradient(x, between)
        if not wants_x:
            return None, gradients
        return inner.inverse(between.mul_(right.conj()).sum(0), inner.columns), gradients
