"""`with_aux_loss`: transformers' Trainer and its relatives, with the routers' auxiliary losses."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from moesuite.errors import UserError
from moesuite.loops.cached import refusing_cached
from moesuite.nn.moe import aux_loss, moe_layers
from moesuite.surgery.checkpoint import load_moe
from moesuite.surgery.saving.sentence import is_sentence_transformer

LOGGED = "aux_loss"  # name in the log


def with_aux_loss(trainer: type) -> type:
    """Return a class of transformers' Trainer whose loss contains the auxiliary losses of routers.

    They count once for each batch, as the mean over the batches of a step under gradient
    accumulation, and are logged as "aux_loss", the mean since the last log. In evaluation nothing
    changes.

    Args:
        trainer: `transformers.Trainer` or a subclass: `Seq2SeqTrainer`, your own, or
            `SentenceTransformerTrainer` of sentence-transformers. One that has it already is
            returned as it is.

    Raises:
        UserError: for any other class.

    Example:
        >>> import transformers
        >>> with_aux_loss(transformers.Trainer).__name__
        'TrainerWithAuxLoss'
    """
    if not callable(getattr(trainer, "compute_loss", None)):
        raise UserError(
            f"with_aux_loss({getattr(trainer, '__name__', trainer)}): expected a class of "
            "transformers' Trainer, e.g. with_aux_loss(transformers.Trainer)"
        )
    if issubclass(trainer, _AuxLoss):
        return trainer
    return type(f"{trainer.__name__}WithAuxLoss", (_AuxLoss, trainer), {})


class _AuxLoss:
    """Mixin before a Trainer.

    Attributes:
        aux: of the batches since the last log.
    """

    aux: list[Tensor]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aux = []

    def training_step(self, model: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Refuse losses that run the model in backward, after the auxiliary losses were read."""
        parent: Any = super()
        with refusing_cached(model):
            return parent.training_step(model, *args, **kwargs)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return the loss of a batch, in training with the auxiliary losses of its forwards."""
        parent: Any = super()
        loss, outputs = parent.compute_loss(model, inputs, True, num_items_in_batch)
        if model.training:
            aux = aux_loss(model).to(loss)
            self.aux.append(aux.detach())
            loss = loss + aux / self._parts(num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def _parts(self, num_items_in_batch: Any) -> int:
        """Return the batches of a step if the Trainer does not divide the loss by them itself.

        It does not where the loss is divided by the items of the whole step already.
        """
        trainer: Any = self
        divided = getattr(trainer, "loss_is_scaled_for_ga", None)
        if divided is None:
            by_model = trainer.model_accepts_loss_kwargs and num_items_in_batch is not None
            divided = by_model or trainer.compute_loss_func is not None
        return int(trainer.current_gradient_accumulation_steps) if divided else 1

    def _load_from_checkpoint(self, checkpoint: str, *args: Any, **kwargs: Any) -> None:
        """Take the weights of a checkpoint, on resuming or as the best ones.

        sentence-transformers builds the model anew for that, and cannot build one with MoE layers.
        """
        parent: Any = super()
        trainer: Any = self
        model = getattr(trainer.model, "_orig_mod", trainer.model)  # of torch.compile
        if is_sentence_transformer(model) and any(moe_layers(model)):
            _take_weights(model, load_moe(checkpoint))
        else:
            parent._load_from_checkpoint(checkpoint, *args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log the mean auxiliary loss beside the loss, of which it is a part."""
        if self.aux and "loss" in logs:
            logs[LOGGED] = round(float(sum(self.aux)) / len(self.aux), 6)
            self.aux.clear()
        parent: Any = super()
        parent.log(logs, *args, **kwargs)


def _take_weights(model: nn.Module, saved: nn.Module) -> None:
    """Load the weights of `saved`; a module that `model` has under two names is saved under one."""
    first: dict[int, str] = {}
    names = {
        name: first.setdefault(id(tensor), name)
        for name, tensor in model.state_dict(keep_vars=True).items()
    }
    weights = saved.state_dict()
    also = {name: weights[same] for name, same in names.items() if same in weights}
    model.load_state_dict(weights | also)
