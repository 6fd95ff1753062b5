"""What a training step of DAL minimises: the networks' outputs, put into the losses of Eq. 5–13.

Each network is called once, for all subjects, sequences and combinations (i, j).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from dal_auto import distributed
from dal_auto.methods.dal import losses
from dal_auto.methods.dal.edge_noise import mislabelled
from dal_auto.methods.dal.settings import DalSettings
from dal_auto.methods.dal.sub_networks import SubNetworks
from dal_auto.methods.dal.warm_start import NO_CLASS, label_loss, tissue_classes
from dal_auto.methods.method import Batch
from dal_auto.networks.anatomy import differentiable_one_hot, halve, merge_channels

#: CSF, grey and white matter: what `Batch.tissue` tells apart.
_KNOWN_TISSUES = 3
#: A subject without any sequence is drawn from evenly; its share of the loss is 0.
_NEVER_EMPTY = 1e-12


@dataclass(frozen=True, eq=False)
class Truth:
    """The anatomy that a batch is known or taken to have.

    Parameters
    ----------
    labels : (P, S, x, y, z) int64; what teaches nothing is −100
    anatomy : (P·S, 1, x, y, z), the anatomical image A of these labels, 0 outside the brain
    teaches : (P·S, 1, 1, 1, 1) bool, whether an image has labels; without, `anatomy` is blank
    """

    labels: Tensor
    anatomy: Tensor
    teaches: Tensor

    def or_else(self, anatomy: Tensor) -> Tensor:
        """This anatomy where there is one, the other of the same shape for all other images."""
        return torch.where(self.teaches, self.anatomy, anatomy)


def true_anatomy(
    batch: Batch, present: Tensor, mask: Tensor, classes: int, reference: int
) -> Truth:
    """The classes that the cohort knows, else those of k-means on the reference sequence.

    Subjects that lack the reference teach nothing then: other sequences have their tissues in
    another order.

    Parameters
    ----------
    present : (P, S), 0 or 1
    mask : (P·S, 1, x, y, z), 0 or 1
    reference : place of a sequence whose intensities order the classes as Eq. 4 presumes
    """
    brain = batch.brain_mask[:, 0]
    if batch.tissue is not None and classes == _KNOWN_TISSUES:
        labels = torch.where((brain > 0) & (batch.tissue >= 0), batch.tissue, NO_CLASS)
        teaches = present
    else:
        clean = batch.images if batch.clean is None else batch.clean
        labels = tissue_classes(clean[:, reference], brain, classes)
        teaches = present * present[:, reference, None]
    repeated = torch.where(teaches[..., None, None, None] > 0, labels[:, None], NO_CLASS)
    # A voxel without a class is taken for the first, fluid: there is little else between.
    one_hot = F.one_hot(repeated.flatten(0, 1).clamp(min=0), classes).movedim(-1, 1)
    anatomy = merge_channels(one_hot.to(mask.dtype), mask)
    return Truth(repeated, anatomy, (teaches > 0).flatten()[:, None, None, None, None])


@dataclass(frozen=True)
class Objective:
    """The losses of a training step.

    Parameters
    ----------
    network : the sub-networks
    terms : names of the losses that are on
    reference : place of the sequence whose intensities give classes where none are known
    taught_steps : steps in which R_A and R_E get the true anatomy
    spacing_mm : mean width of a voxel
    """

    network: SubNetworks
    terms: frozenset[str]
    reference: int
    taught_steps: int
    spacing_mm: float

    @property
    def settings(self) -> DalSettings:
        return self.network.settings

    def warm_start(self, batch: Batch, present: Tensor) -> Tensor:
        """Cross-entropy of E_A to the classes, alone."""
        mask = batch.brain_mask.repeat_interleave(present.shape[1], dim=0)
        logits = self.network.run("E_A", batch.images.flatten(0, 1)[:, None], brain=mask)
        return label_loss(logits, self._truth(batch, present, mask).labels)

    def parts(self, batch: Batch, present: Tensor, step: int) -> dict[str, Tensor]:
        """The losses that are on, by name.

        Parameters
        ----------
        batch : 0 for what is absent
        present : (P, S), 0 or 1
        """
        net, s, shape = self.network, self.settings, present.shape
        images = batch.images.flatten(0, 1)[:, None]
        mask = batch.brain_mask.repeat_interleave(shape[1], dim=0)
        logits = net.run("E_A", images, brain=mask)
        one_hot = differentiable_one_hot(logits) * mask
        anatomy = merge_channels(one_hot, mask)
        vectors = net.run("E_M", halve(images), brain=mask).unflatten(0, shape)
        if s.remembers_modality and net.training:
            net.remember_modality(
                distributed.gathered(vectors).float(), distributed.gathered(present)
            )
        taught = step < self.taught_steps and net.training
        truth = self._truth(batch, present, mask) if self._needs_truth(batch, taught) else None
        seen = truth.or_else(anatomy) if taught and truth is not None else anatomy
        codes = [net.run("R_A", seen, brain=mask)]
        if "rest" in self.terms:
            codes.append(net.run("R_E", self._restorer_input(seen, mask), brain=mask))
        clean = batch.images if batch.clean is None else batch.clean
        # Self-reconstruction is of what R_A saw: with the true anatomy, the clean image.
        targets = {"recon": clean if taught else batch.images, "rest": clean}
        parts = self._image_errors(codes, vectors, targets, mask, present)
        parts |= self._comparisons(one_hot, anatomy, vectors, present)
        if "con_AE" in self.terms:
            wanted = codes[0]
            if batch.clean is not None and truth is not None and not taught:
                with torch.no_grad():  # the code of the clean anatomy
                    wanted = net.run("R_A", truth.or_else(anatomy), brain=mask)
            parts["con_AE"] = losses.code_consistency(
                codes[1],
                wanted,
                present.flatten(),
                normalised=s.code_consistency == "normalised",
            )
        # Known classes teach E_A all along; those of k-means only while R_A and R_E get them, for
        # without any it would not know what it has to give them afterwards.
        if s.weight_labels > 0 and truth is not None and (taught or batch.tissue is not None):
            parts["labels"] = label_loss(logits, truth.labels)
        return parts

    def parts_from_image_edges(self, batch: Batch, present: Tensor) -> dict[str, Tensor]:
        """Eq. 11 without disentangling (Table 7): x_i from its own edges; nothing to cross with."""
        net = self.network
        images = batch.images.flatten(0, 1)[:, None]
        mask = batch.brain_mask.repeat_interleave(present.shape[1], dim=0)
        code = net.run("R_E", net.restorer_input(images), brain=mask)
        restored = net.run("R_D", code, None, brain=mask)
        share = losses.shares(present).diagonal(dim1=1, dim2=2).flatten()[:, None, None]
        clean = images if batch.clean is None else batch.clean.flatten(0, 1)[:, None]
        return {"rest": losses.image_error(restored[:, None], clean, mask, share)}

    def _needs_truth(self, batch: Batch, taught: bool) -> bool:
        labels = self.settings.weight_labels > 0 and batch.tissue is not None
        return taught or labels or batch.clean is not None

    def _truth(self, batch: Batch, present: Tensor, mask: Tensor) -> Truth:
        return true_anatomy(batch, present, mask, self.settings.classes, self.reference)

    def _restorer_input(self, anatomy: Tensor, mask: Tensor) -> Tensor:
        s = self.settings
        if s.edge_noise > 0 and self.network.training:
            anatomy = mislabelled(
                anatomy.detach(),
                mask,
                s.edge_noise,
                s.classes,
                s.edge_noise_radii_mm,
                self.spacing_mm,
            )
        return self.network.restorer_input(anatomy)

    def _image_errors(
        self,
        codes: list[Tensor],
        vectors: Tensor,
        targets: dict[str, Tensor],
        mask: Tensor,
        present: Tensor,
    ) -> dict[str, Tensor]:
        """Eq. 9 and Eq. 11, of all combinations (i, j) or of one j for each (p, i)."""
        combined, columns = self._combined(codes, vectors, mask, present)
        share = losses.shares(present)
        brain = mask.unflatten(0, present.shape)[:, 0]
        parts = {}
        for number, image in enumerate(combined):
            name = ("recon", "rest")[number]
            parts[name] = losses.image_error(
                image, targets[name], brain, share, None if columns is None else columns[number]
            )
        return parts

    def _combined(
        self, codes: list[Tensor], vectors: Tensor, mask: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """R_D(C_i, M_j) of every code.

        Parameters
        ----------
        codes : each (P·S, c, …)
        vectors : (P, S, m)

        Returns
        -------
        images : (len(codes), P, S, J, x, y, z), [code, p, i, j]; J is S, or 1 where j is drawn
        columns : (len(codes), P, S) the drawn j; None where there are all
        """
        subjects, sequences = vectors.shape[:2]
        columns = None
        taken = sequences
        if self.settings.combinations == "drawn" and self.network.training:
            weights = present[None, :, None].expand(len(codes), -1, sequences, -1)
            weights = weights.flatten(0, 2) + _NEVER_EMPTY
            columns = torch.multinomial(weights, 1).view(len(codes), subjects, sequences)
            taken = 1
        shape = (len(codes), subjects, sequences, taken)
        stacked = torch.stack(codes).unflatten(1, (subjects, sequences))[:, :, :, None]
        anatomy = stacked.expand(*shape, *stacked.shape[4:]).flatten(0, 3)
        modality = vectors[None, :, None].expand(*shape[:3], sequences, -1)
        if columns is not None:
            index = columns[..., None, None].expand(-1, -1, -1, 1, modality.shape[-1])
            modality = modality.gather(3, index)
        brain = mask.unflatten(0, (subjects, sequences))[None, :, :, None]
        brain = brain.expand(*shape, *brain.shape[4:]).flatten(0, 3)
        images = self.network.run("R_D", anatomy, modality.flatten(0, 3), brain=brain)
        return images[:, 0].unflatten(0, shape), columns

    def _comparisons(
        self, one_hot: Tensor, anatomy: Tensor, vectors: Tensor, present: Tensor
    ) -> dict[str, Tensor]:
        """Eq. 5 to 8, over all processes' subjects."""
        s, parts = self.settings, {}
        everywhere = distributed.gathered(present)
        if self.terms & {"con_A", "sim_A"}:
            compared = one_hot if s.similarity_of == "onehot" else anatomy
            cos = losses.cosines(distributed.gathered(compared.unflatten(0, present.shape)))
            if "con_A" in self.terms:
                parts["con_A"] = losses.anatomy_consistency(cos, everywhere)
            if "sim_A" in self.terms:
                parts["sim_A"] = losses.anatomy_similarity(cos, everywhere, s.margin_anatomy)
        if self.terms & {"con_M", "sim_M"}:
            cos = losses.cosines(distributed.gathered(vectors))
            if "con_M" in self.terms:
                parts["con_M"] = losses.modality_consistency(cos, everywhere)
            if "sim_M" in self.terms:
                parts["sim_M"] = losses.modality_similarity(cos, everywhere, s.margin_modality)
        return parts
