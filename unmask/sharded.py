"""A network in shares: weights, gradients and moments lie over the processes, and are together only where they work.

Source: ZeRO, stage 3 (Rajbhandari et al. 2020, section 5.3), as `torch.distributed.fsdp.fully_shard` (FSDP2) has it.
A layer is gathered when its turn comes; everything else (tables, heads, norms) is gathered for the whole pass, since
the head multiplies with the encoder's table. Differs from common use in that gradients are added over the processes,
not averaged: the loop divides each sum by its count over all of them. What is saved is whole, so that any number of
processes, sharded or not, can read it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from unmask.errors import UnmaskError
from unmask.muon import Muon
from unmask.optim import grouped
from unmask.recipes import Recipe
from unmask.training import Kind

Batch = dict[str, Tensor]


class Sharded(nn.Module):
    """A recipe's loss as the forward pass of one module, which is what is sharded. Raises UnmaskError when alone."""

    def __init__(self, network: nn.Module, working: torch.dtype) -> None:
        super().__init__()
        if not dist.is_initialized() or dist.get_world_size() < 2:
            raise UnmaskError(
                "shard is asked for in one process — there is nobody to share the weights with — leave out --shard, or "
                "start with torchrun --nproc-per-node N -m unmask …"
            )
        self.network = network
        mesh = init_device_mesh(next(network.parameters()).device.type, (dist.get_world_size(),))
        policy = MixedPrecisionPolicy(
            param_dtype=working if working != torch.float32 else None,
            reduce_dtype=torch.float32,
            cast_forward_inputs=False,  # they are whole numbers, and a layout that keeps its masks
        )
        layers = network.encoder.layers  # type: ignore[union-attr]
        assert isinstance(layers, nn.ModuleList)
        if not network.encoder.shape.shared:  # type: ignore[union-attr]  # one layer for all is together throughout
            for layer in layers:
                fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(self, mesh=mesh, mp_policy=policy)
        for part in self.modules():
            if isinstance(part, FSDPModule):
                part.set_gradient_divide_factor(1.0)
                part.set_force_sum_reduction_for_comms(True)

    def forward(self, recipe: Recipe, batch: Batch) -> dict[str, Tensor]:
        """The recipe's sums. Where a batch asks nothing it is asked one token for nothing: all must pass all layers."""
        if len(batch["positions"]):
            return recipe.loss(self.network, batch)
        one = batch["ids"].new_zeros(1)
        parts = recipe.loss(self.network, {**batch, "positions": one, "targets": one})
        empty = {term for term, array in recipe.TERMS.items() if not len(batch[array])}
        return {
            name: value * 0 if name.removesuffix("_correct") in empty else value
            for name, value in parts.items()
        }


class _ShardedMuon(Muon):
    """Muon on shares: a matrix is whole on every process while it is orthogonalised, its momentum never."""

    def whole(self, p: nn.Parameter, part: Tensor) -> Tensor:
        assert isinstance(p, DTensor)
        return DTensor.from_local(
            part, p.device_mesh, p.placements, shape=p.shape, stride=p.stride()
        ).full_tensor()

    def part(self, p: nn.Parameter, whole: Tensor) -> Tensor:
        if isinstance(whole, DTensor):
            return whole.to_local()
        assert isinstance(p, DTensor)
        return distribute_tensor(whole, p.device_mesh, p.placements, src_data_rank=None).to_local()


class ShardedOptimizer:
    """AdamW and Muon on shares, with the interface of `unmask.optim.Optimizer`; the shares are fp32 and the masters.

    Give it the parameters of the network inside `Sharded` by their own names, after it was sharded. `weights` and
    `state` gather whole tensors: all processes must call them, the first alone keeps what they return.
    """

    def __init__(
        self,
        parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        kind: Kind = "adamw",
        weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.98,
        epsilon: float = 1e-8,
        working: torch.dtype = torch.float32,
    ) -> None:
        groups = grouped(parameters, kind)
        self._named = dict(groups["muon"] + groups["decay"] + groups["plain"])
        self._muon = {name for name, _ in groups["muon"]}
        decays = [
            {"params": [p for _, p in groups[name]], "weight_decay": decay}
            for name, decay in (("decay", weight_decay), ("plain", 0.0))
            if groups[name]
        ]
        self._adamw = torch.optim.AdamW(decays, lr=0.0, betas=(beta1, beta2), eps=epsilon) if decays else None
        matrices = [p for _, p in groups["muon"]]
        self._matrices = (
            _ShardedMuon(matrices, weight_decay=weight_decay, working=working) if matrices else None
        )
        self._optimizers: list[torch.optim.Optimizer] = [
            o for o in (self._adamw, self._matrices) if o is not None
        ]

    @property
    def device(self) -> torch.device:
        return next(iter(self._named.values())).device

    def set_rate(self, rate: float) -> None:
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def gather(self) -> None:
        """Nothing: each backward adds to the shares' gradients."""

    def add_up(self) -> None:
        """Nothing: each backward adds over the processes."""

    def clip(self, norm: float) -> Tensor:
        gradients = [_share(p.grad) for p in self._named.values() if p.grad is not None]
        zero = torch.zeros((), device=self.device)  # an update may ask nothing of any process
        total = torch.stack([zero, *(g.square().sum() for g in gradients)]).sum()
        dist.all_reduce(total)
        total = total.sqrt()
        if norm > 0 and gradients:
            torch._foreach_mul_(gradients, (norm / (total + 1e-6)).clamp(max=1.0))
        return total

    def step(self) -> None:
        for optimizer in self._optimizers:
            optimizer.step()
        self.clear()

    def clear(self) -> None:
        for p in self._named.values():
            p.grad = None

    def weights(self) -> dict[str, Tensor]:
        return {name: _whole(p.detach()) for name, p in self._named.items()}

    def _slots(self) -> list[tuple[str, str, dict[str, Any], nn.Parameter]]:
        """(key, name, its optimizer's state, parameter) of every running mean; made first if no step was taken."""
        slots = []
        for name, p in self._named.items():
            optimizer = self._matrices if name in self._muon else self._adamw
            assert optimizer is not None
            kinds = ("momentum_buffer",) if name in self._muon else ("exp_avg", "exp_avg_sq")
            state = optimizer.state[p]
            for kind in kinds:
                if kind not in state:
                    state[kind] = torch.zeros_like(p.detach())
                slots.append((kind, name, state, p))
            if name not in self._muon and "step" not in state:
                state["step"] = torch.zeros(())
        return slots

    def state(self) -> dict[str, Tensor]:
        found, count = {}, torch.zeros(())
        for kind, name, state, _ in self._slots():
            found[f"{kind.removesuffix('_buffer')}/{name}"] = _whole(state[kind])
            count = state.get("step", count)
        return {**found, "steps": count.detach().reshape(1).cpu()}

    def load(self, weights: dict[str, Tensor], state: dict[str, Tensor]) -> None:
        """Every process takes its shares of whole tensors. Raises KeyError where a name is missing."""
        with torch.no_grad():
            for name, p in self._named.items():
                _put(p, weights[name])
            for kind, name, own, _ in self._slots():
                _put(own[kind], state[f"{kind.removesuffix('_buffer')}/{name}"])
                if "step" in own:
                    own["step"].fill_(float(state["steps"].item()))


def _share(tensor: Tensor) -> Tensor:
    """This process's part: a view."""
    assert isinstance(tensor, DTensor)
    return tensor.to_local()


def _whole(tensor: Tensor) -> Tensor:
    """The whole tensor in the memory of the first process; nothing on the others, which must ask all the same."""
    assert isinstance(tensor, DTensor)
    whole = tensor.full_tensor()
    return whole.cpu() if dist.get_rank() == 0 else whole.new_empty(0)


def _put(place: Tensor, whole: Tensor) -> None:
    assert isinstance(place, DTensor)
    share = distribute_tensor(whole.to(place.device), place.device_mesh, place.placements, src_data_rank=None)
    place.to_local().copy_(share.to_local())
