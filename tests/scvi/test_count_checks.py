"""What is taken for counts, and what is refused in a sentence."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from room import STORES, room_for

import vmm
from vmm.errors import InputError


def trained(cells, **setup) -> np.ndarray:
    vmm.SCVI.setup_anndata(cells, **setup)
    model = vmm.SCVI(cells, n_hidden=8, n_latent=3, n_components=4, seed=0)
    model.train(max_epochs=2, enable_progress_bar=False)
    return model.get_latent_representation()


FORMS = {
    "csr_array": sp.csr_array,
    "csc_array": sp.csc_array,
    "csr_matrix": sp.csr_matrix,
    "dense": sp.csr_matrix.toarray,
    "Fortran": lambda x: np.asfortranarray(x.toarray()),
    "int64": lambda x: x.astype(np.int64),
    "uint16": lambda x: x.toarray().astype(np.uint16),
    "float16": lambda x: x.toarray().astype(np.float16),
}


@pytest.fixture(scope="module")
def expected(pbmc):
    """Return the embedding of a hundred cells."""
    return trained(pbmc[:100].copy())


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("form", FORMS)
def test_counts_in_every_form(pbmc, expected, form):
    cells = pbmc[:100].copy()
    cells.X = FORMS[form](cells.X)
    kind = type(cells.X)
    np.testing.assert_array_equal(trained(cells), expected)
    assert type(cells.X) is kind


@pytest.mark.parametrize("store", STORES)
def test_counts_on_disk(pbmc, expected, tmp_path, store, monkeypatch):
    """Whether they are put into memory, or stay there."""
    room_for(monkeypatch, store)
    cells = pbmc[:100].copy()
    cells.write_h5ad(tmp_path / "sparse.h5ad")
    cells.X = cells.X.toarray()
    cells.write_h5ad(tmp_path / "dense.h5ad")
    for name in ("sparse", "dense"):
        backed = anndata.read_h5ad(tmp_path / f"{name}.h5ad", backed="r")
        np.testing.assert_array_equal(trained(backed), expected)


def test_raw_as_a_layer(pbmc, expected):
    """Counts in ``adata.raw``, of all genes, beside chosen and transformed ones."""
    cells = pbmc[:100].copy()
    cells.raw = cells
    cells = cells[:, ::-1].copy()
    cells.X = cells.X.log1p()
    cells = cells[:, ::-1].copy()
    np.testing.assert_array_equal(trained(cells, layer="raw"), expected)
    some = cells[:, ::2].copy()
    del some.layers["raw"]
    trained(some, layer="raw")
    assert (some.layers["raw"] != pbmc[:100, ::2].X).nnz == 0
    strange = cells.copy()
    del strange.layers["raw"]
    strange.var_names = [f"x{i}" for i in range(strange.n_vars)]
    with pytest.raises(InputError, match=r"adata\.raw has none of the model's 120 genes"):
        vmm.SCVI.setup_anndata(strange, layer="raw")


def changed(value, sparse: bool = False):
    """Return a change of one count."""

    def change(cells):
        counts = cells.X.toarray()
        counts[3, 2] = value
        cells.X = sp.csr_matrix(counts) if sparse else counts

    return change


def entry(cells) -> str:
    return f"at cell 3, '{cells.obs_names[3]}', gene '{cells.var_names[2]}'; 1 in all)"


REFUSED = {
    "NaN": (changed(np.nan), "missing or infinite values (first: nan @; give raw counts"),
    "sparse NaN": (changed(np.nan, True), "missing or infinite values (first: nan @; give raw"),
    "infinite": (changed(np.inf), "have missing or infinite values (first: inf @; give raw counts"),
    "negative": (changed(-0.5), "have negative values (first: -0.5 @; give raw counts, not scaled "
                 "ones; whole numbers are in layer='counts'."),
    "sparse negative": (changed(-2, True), "have negative values (first: -2 @"),
    "too large": (changed(3e9), "have values above 2,147,483,647 (first: 3e+09 @"),
    "all zero": (lambda a: setattr(a, "X", a.X * 0), "all counts in adata.X are zero."),
    "text": (lambda a: a.layers.__setitem__("t", np.full(a.shape, "1")), "is of type <U1, not num"),
    "no X": (lambda a: setattr(a, "X", None), "no X; name the layer with counts by `layer` (there "
             "are counts)."),
    "no layer": (lambda a: setattr(a, "raw", a), "no_layer is not a valid key in adata.layers; "
                 "there are counts, and 'raw' for adata.raw."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_are_no_counts(pbmc, case):
    change, message = REFUSED[case]
    cells = pbmc[:50].copy()
    change(cells)
    layer = {"text": "t", "no layer": "no_layer"}.get(case)
    with pytest.raises(InputError) as caught:
        vmm.SCVI.setup_anndata(cells, layer=layer)
    assert message.replace("@", entry(cells)) in str(caught.value)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_new_cells_are_looked_at_too(model, pbmc):
    cells = pbmc[:20].copy()
    cells.layers["counts"] = cells.layers["counts"] * -1
    with pytest.raises(InputError, match=r"counts in adata\.layers\['counts'\] have negative val"):
        model.predict(cells)


def test_fractional_counts_are_taken_and_told(pbmc):
    cells = pbmc[:60].copy()
    cells.X = cells.X * np.float32(0.93)
    with pytest.warns(UserWarning, match="does not contain unnormalized count data") as told:
        vmm.SCVI.setup_anndata(cells)
    (message,) = [str(warning.message) for warning in told]
    first = f"{0.93 * pbmc.X[:60].data[0]:.6g}"
    assert f"adata.X does not contain unnormalized count data: values are not integers (first: " \
        f"{first} at cell 0, " in message  # fmt: skip
    assert "; whole numbers are in layer='counts'. They are taken as they are." in message
    assert "can be rounded by numpy.rint before `setup_anndata`: each changes by 0.5" in message
    cells.X = np.rint(cells.X.toarray())
    vmm.SCVI.setup_anndata(cells)
    del cells.layers["counts"]
    cells.raw = cells
    cells.X = np.log1p(cells.X)
    with pytest.warns(UserWarning, match=r"whole numbers are in layer='raw' \(adata.raw\)\. They"):
        vmm.SCVI.setup_anndata(cells)


BATCHES = {
    "missing": (
        [None, "a"],
        r"has no value in 30 cells \(first: cell 0, '.*'\); fill it in",
    ),
    "NaN": ([np.nan, 1.0], "has no value in 30 cells"),
    "empty": (["", "a"], "has no value in 30 cells"),
    "mixed": ([1, "a"], r"has both text and other values \(1, a\); make them all text"),
}


@pytest.mark.parametrize("case", BATCHES)
def test_batches_that_are_refused(pbmc, case):
    values, told = BATCHES[case]
    cells = pbmc[:60].copy()
    cells.obs["donor"] = pd.Series(values * 30, cells.obs_names, dtype=object)
    message = r"column 'donor' of adata.obs \(`batch_key`\) " + told
    for column in (cells.obs["donor"], pd.Categorical(cells.obs["donor"])):
        cells.obs["donor"] = column
        with pytest.raises(InputError, match=message):
            vmm.SCVI.setup_anndata(cells, batch_key="donor")


def test_barcodes_are_no_batches(pbmc):
    """Named by mistake, they would make each cell a batch of its own."""
    cells = pbmc[:60].copy()
    cells.obs["barcode"] = cells.obs_names
    with pytest.raises(InputError, match=r"another value for each of the 60 cells .* names of"):
        vmm.SCVI.setup_anndata(cells, layer="counts", batch_key="barcode")
