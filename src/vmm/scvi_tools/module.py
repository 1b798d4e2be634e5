"""A module of scvi-tools with one of our priors in the place of N(0, I)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from scvi.module._constants import MODULE_KEYS
from torch import Tensor, nn

from vmm.data.messages import listing
from vmm.errors import InputError
from vmm.lazy import resolve
from vmm.models.base import encode_once
from vmm.numerics.gaussians import DiagonalNormal
from vmm.priors.base import Prior
from vmm.scvi_tools.records import ModelRecord

if TYPE_CHECKING:
    from scvi.module.base import LossOutput

    class Library(nn.Module):
        """What a module of the library has."""

        device: torch.device
        n_latent: int
        _get_inference_input: Any
        inference: Any
        loss: Any
else:
    Library = object  # the library's module is inherited from it beside

TensorDict = dict[str, Tensor]


class PriorModule(Library):
    """What is added to a module: its KL, its bound, its pseudo-inputs.

    A pseudo-input is what the first layer of the encoder sees: the features as the library
    transforms them and the encoded continuous covariates, as free numbers; and a softmax for each
    encoded categorical covariate, the batch among them. To the parts of :class:`vmm.SCVI` that
    read clusters off, the module itself is the networks.

    Attributes
    ----------
    record : ModelRecord
    prior : vmm.priors.base.Prior
    of_reference : bool
        Whether the prior is that of a reference that cells are mapped onto, which its KL must not
        move: pseudo-inputs pass through weights of the reference's batches.
    """

    record: ModelRecord
    prior: Prior
    of_reference = False
    _given: Tensor | None = None

    @property
    def networks(self) -> PriorModule:
        """Itself."""
        return self

    @property
    def latent_dim(self) -> int:
        """Dimension p of z."""
        return self.n_latent

    def batch(self, tensors: TensorDict) -> TensorDict:
        """Return a minibatch where the module is."""
        return {key: value.to(self.device) for key, value in tensors.items()}

    # Posteriors

    def posterior(self, tensors: TensorDict) -> DiagonalNormal:
        """Return q(z|x) of n cells, in evaluation mode."""
        with evaluating(self):
            outputs = self.inference(**self._get_inference_input(self.batch(tensors)))
        return posterior_in(outputs)

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> DiagonalNormal:
        """Return q(z; u) of pseudo-inputs (K, D), in evaluation mode."""
        n = len(self.encoders)
        parts = pseudo_inputs.split([*self._n_features, *self._categories], -1)
        covariates = [part.softmax(-1) if part.shape[-1] else None for part in parts[n:]]
        moved = torch.is_grad_enabled() and not self.of_reference
        with evaluating(*self.encoders), torch.set_grad_enabled(moved):
            each = zip(self.encoders, parts[:n], strict=True)
            encoded = [encoder(features, *covariates) for encoder, features in each]
            return normal_of(resolve(self.record.posterior)(self, parts[:n], encoded))

    @torch.no_grad()
    def initial_pseudo_inputs(self, tensors: TensorDict) -> Tensor:
        """Return pseudo-inputs (K, D) that are K cells, and evenly of all categories."""
        seen: dict[nn.Module, Tensor] = {}

        def see(encoder: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[encoder] = inputs[0]

        hooks = [encoder.register_forward_pre_hook(see) for encoder in self.encoders]
        try:
            self.posterior(tensors)
        finally:
            for hook in hooks:
                hook.remove()
        features = [seen[encoder] for encoder in self.encoders]
        evenly = features[0].new_zeros(len(features[0]), sum(self._categories))
        return torch.cat([*features, evenly], -1)

    @property
    def encoders(self) -> list[Any]:
        """Networks that pseudo-inputs are encoded by."""
        return [getattr(self, name) for name in self.record.encoders]

    @property
    def _categories(self) -> list[int]:
        """Numbers of categories that encoders are told, 0 for a covariate that they are not."""
        return self.encoders[0].encoder.n_cat_list

    @property
    def _n_features(self) -> list[int]:
        """What else the first layer of each encoder sees."""
        sizes = [encoder.encoder.fc_layers[0][0].in_features for encoder in self.encoders]
        return [size - sum(self._categories) for size in sizes]

    @property
    def pseudo_input_size(self) -> int:
        """Number D of a pseudo-input's entries."""
        return sum(self._n_features) + sum(self._categories)

    # The bound

    def kl(self, inference_outputs: dict[str, Any]) -> Tensor:
        """Return KL(q ‖ p) of each cell, shape (n,); of several samples of z the mean."""
        q = posterior_in(inference_outputs)
        samples = inference_outputs[MODULE_KEYS.Z_KEY].reshape(-1, *q.mean.shape)
        encode = encode_once(self)
        return torch.stack([self.prior.kl(q, z, encode) for z in samples]).mean(0)

    def loss(
        self,
        tensors: TensorDict,
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, Any],
        kl_weight: float | Tensor = 1.0,
        **options: Any,
    ) -> LossOutput:
        """Return the library's loss with KL(q ‖ p) in the place of KL(q ‖ N(0, I))."""
        theirs = super().loss(
            tensors, inference_outputs, generative_outputs, kl_weight=kl_weight, **options
        )
        if self.prior.is_standard_normal and not self.record.mean_of_cells:
            return theirs  # to the bit
        if self.record.kl not in theirs.kl_local:
            raise InputError(
                f"the record of {self.record.name} has kl={self.record.kl!r}; the loss returns "
                f"{listing(theirs.kl_local)}."
            )
        kl, replaced = self.kl(inference_outputs), theirs.kl_local[self.record.kl]
        if self.record.mean_of_cells:
            reconstruction = theirs.dict_sum(theirs.reconstruction_loss)
            loss = (reconstruction + kl_weight * kl).mean()
        else:
            loss = theirs.loss + kl_weight * (kl - replaced).mean()
        return replace(theirs, loss=loss, kl_local={**theirs.kl_local, self.record.kl: kl})

    @torch.inference_mode()
    def marginal_ll(
        self,
        tensors: TensorDict,
        n_mc_samples: int,
        return_mean: bool = False,
        n_mc_samples_per_pass: int = 1,
    ) -> float | Tensor:
        """Estimate log p(x) by importance sampling from q, with our prior.

        log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x), other latent variables alike, shape (n,), or its
        mean. `n_mc_samples_per_pass` is the library's, and changes nothing here.
        """
        others, encode = resolve(self.record.others), encode_once(self)
        tensors, terms = self.batch(tensors), []
        for _ in range(n_mc_samples):
            inference, generative, losses = self.forward(tensors)
            z = inference[MODULE_KEYS.Z_KEY]
            q = posterior_in(inference)
            log_joint = self.prior.log_prob(z, encode) - losses.dict_sum(losses.reconstruction_loss)
            terms.append(log_joint - q.log_prob(z) + others(self, tensors, inference, generative))
        log_prob = torch.stack(terms).logsumexp(0) - math.log(n_mc_samples)
        return float(log_prob.mean()) if return_mean else log_prob.cpu()

    # Imagined cells

    def inference(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the library's outputs, within :meth:`draw` with z as it was given."""
        outputs = super().inference(*args, **kwargs)
        if self._given is not None:
            outputs = outputs | {MODULE_KEYS.Z_KEY: self._given}
        return outputs

    @torch.no_grad()
    def draw(self, tensors: TensorDict, z: Tensor) -> Any:
        """Draw what cells may look like that have `z` (n, p), and all else of those of a batch."""
        self._given = z
        try:
            return resolve(self.record.draw)(self, self.batch(tensors))
        finally:
            self._given = None


def prepare(module: nn.Module, record: ModelRecord) -> PriorModule:
    """Make a module of the library, as it stands, one that takes a prior."""
    library: Any = type(module)
    module.__class__ = _prepared(library, record)
    assert isinstance(module, PriorModule)
    return module


@cache
def _prepared(library: Any, record: ModelRecord) -> type:
    name = f"{library.__name__}WithPrior"
    return type(name, (PriorModule, library), {"record": record, "__doc__": library.__doc__})


def posterior_in(outputs: dict[str, Any]) -> DiagonalNormal:
    """Return q(z|x) from what the inference of a module returns."""
    if MODULE_KEYS.QZ_KEY in outputs:
        return normal_of(outputs[MODULE_KEYS.QZ_KEY])
    return DiagonalNormal(outputs["qz_m"], outputs["qz_v"].sqrt())  # of a MULTIVI


def normal_of(q: Any) -> DiagonalNormal:
    """Return the library's q(z) as one of our distributions."""
    return DiagonalNormal(q.loc, q.scale)


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Leave batch normalisation and dropout out within the ``with`` block."""
    training = [part for module in modules for part in module.modules() if part.training]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True
