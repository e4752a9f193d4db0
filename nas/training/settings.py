"""The settings of a training recipe: every number that the loop uses, each written out."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nas.settings import Settings

Precision = Literal["fp32", "bf16", "fp16", "fp64"]  # fp64: for checks of equality

LATER = (
    *("last_batch", "empty_images", "decay_on", "cosine_by", "iou_crop"),
    *("micro_batch", "frozen", "freeze_bn", "compile", "checkpoint_minutes"),
)
"""Settings that the first release didn't have."""


class RecipeSettings(Settings):
    """How a detector is trained; epochs are passes over the training part.

    A recipe by name, with deviations, is made by `nas.training.recipes.resolve`.
    """

    base: str = "custom"  # the named recipe that the rest deviates from; a record only
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=1)  # images per step, over all workers
    last_batch: Literal["drop", "fill"] = "drop"  # of an epoch: left out, or filled from its start
    empty_images: bool = True  # whether images without a box are trained on

    optimizer: Literal["sgd", "adamw"]
    lr: float = Field(gt=0)  # the peak
    lr_batch: int | None = Field(default=None, ge=1)  # lr is for this batch, others scale linearly
    momentum: float = Field(default=0.9, ge=0, lt=1)  # SGD's momentum, or AdamW's first beta
    beta2: float = Field(default=0.999, gt=0, lt=1)  # AdamW
    eps: float = Field(default=1e-8, gt=0)  # AdamW
    weight_decay: float = Field(ge=0)  # adds decay · w to the gradient; AdamW: beside it
    decay_on: Literal["kernels", "all"] = "kernels"  # those of convolutions and linear layers
    clip_norm: float | None = Field(default=None, gt=0)  # of all gradients together

    schedule: Literal["constant", "step", "cosine", "onecycle"]
    warmup_steps: int = Field(default=0, ge=0)  # linear; onecycle has warmup_share instead
    warmup_lr: float = Field(default=0.0, ge=0)  # where the linear warm-up starts
    decay_before_end: tuple[float, ...] = ()  # step: epochs before the end at which lr decays
    decay_factor: float = Field(default=0.1, gt=0, le=1)  # step: at each of these points
    warmup_share: float = Field(default=0.3, gt=0, lt=1)  # onecycle: rising part of all steps
    start_factor: float = Field(default=0.04, gt=0, le=1)  # onecycle: first lr / peak
    end_factor: float = Field(default=0.0, ge=0, le=1)  # onecycle and cosine: last lr / peak
    cosine_by: Literal["step", "epoch"] = "step"  # cosine: falls with each update or each epoch

    iou_crop: bool = False  # crop around at least one box, as SSD does
    flip: bool = True  # mirror half of the images
    jitter: tuple[float, float] | None = None  # range of the scale, with crop or padding
    drop_path: float = Field(default=0.0, ge=0, lt=1)  # of the last block, read by the builder
    activation: Literal["relu", "swish"] | None = None  # asked of the genome; None: its own
    bn_momentum: float | None = Field(default=None, gt=0, le=1)  # torch's sense; None: the model's
    bn_batches: int = Field(default=0, ge=0)  # batches to measure batch-norm statistics anew, last
    ema: float = Field(default=0.0, ge=0, lt=1)  # decay of the average of weights; 0: none

    precision: Precision = "fp32"
    channels_last: bool = True
    threads: int | None = Field(default=None, ge=1)  # per process; None: as the process has it

    micro_batch: int | None = Field(default=None, ge=1)  # images a process holds at once; None: all
    frozen: tuple[str, ...] = ()  # parts that don't learn: backbone, head, or a block such as b03
    freeze_bn: bool = False  # batch norms in evaluation mode, their weights still learn
    compile: bool = False  # torch.compile; the first steps take minutes
    checkpoint_minutes: float = Field(default=30.0, gt=0)  # between checkpoints within an epoch

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.jitter is not None and not 0 < self.jitter[0] <= self.jitter[1]:
            raise ValueError(f"jitter {self.jitter} is no range; give [low, high] above 0")
        if self.freeze_bn and self.bn_batches:
            raise ValueError(
                f"freeze_bn leaves no statistics to measure in bn_batches {self.bn_batches}; "
                "set one of them"
            )
        if self.schedule == "step":
            late = [e for e in self.decay_before_end if not 0 < e < self.epochs]
            if late:
                raise ValueError(
                    f"decay_before_end {late} lies outside the {self.epochs} epochs; "
                    "set it with epochs, or take schedule onecycle or cosine"
                )
        return self

    def record(self) -> dict[str, Any]:
        """As JSON values; later settings are left out at their default, so that old runs go on."""
        fields = type(self).model_fields
        same = {name for name in LATER if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude=same)

    @property
    def scaled_lr(self) -> float:
        """Peak learning rate for `batch_size` (linear scaling, arXiv 1706.02677 §2.1)."""
        return self.lr * self.lr_factor

    @property
    def lr_factor(self) -> float:
        """What `lr` and `warmup_lr` are multiplied with for `batch_size`."""
        return self.batch_size / self.lr_batch if self.lr_batch else 1.0
