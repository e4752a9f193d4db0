"""The settings of a training recipe: every number that the loop uses, each written out."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nas.data.settings import AugmentSettings
from nas.settings import Settings

Precision = Literal["fp32", "bf16", "fp16", "fp64"]  # fp64: for checks of equality

LATER = (
    *("last_batch", "empty_images", "decay_on", "cosine_by", "iou_crop"),
    *("micro_batch", "frozen", "freeze_bn", "compile", "checkpoint_minutes"),
    *("augment", "augment_by_passes", "flip_vertical", "quarter_turns", "ema_share"),
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
    augment: AugmentSettings | None = None  # takes the place of iou_crop and jitter
    augment_by_passes: bool = False  # the same, as strong as the epochs ask for
    flip_vertical: bool = False  # mirror half of the images upside down; with either of these
    quarter_turns: bool = False  # turn images by quarters; likewise
    drop_path: float = Field(default=0.0, ge=0, lt=1)  # of the last block, read by the builder
    activation: Literal["relu", "swish"] | None = None  # asked of the genome; None: its own
    bn_momentum: float | None = Field(default=None, gt=0, le=1)  # torch's sense; None: the model's
    bn_batches: int = Field(default=0, ge=0)  # batches to measure batch-norm statistics anew, last
    ema: float = Field(default=0.0, ge=0, lt=1)  # decay of the average of weights; 0: none
    ema_share: float = Field(default=0.0, ge=0, le=1)  # or its horizon as a share of all steps

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
        if self.ema and self.ema_share:
            raise ValueError(
                f"ema {self.ema} fixes the decay, ema_share {self.ema_share} has it follow from "
                "the steps; set one of them"
            )
        self._check_augmentation()
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

    def _check_augmentation(self) -> None:
        """Refuses augmentation that is told twice, or turns that nothing would make."""
        augment = [name for name in ("augment", "augment_by_passes") if getattr(self, name)]
        others = [name for name in ("iou_crop", "jitter") if getattr(self, name)]
        turns = [name for name in ("flip_vertical", "quarter_turns") if getattr(self, name)]
        if len(augment) > 1 or (augment and others):
            raise ValueError(
                f"{' and '.join([*augment, *others])} say twice how images are changed; keep one"
            )
        if turns and not augment:
            raise ValueError(
                f"{' and '.join(turns)}: images are turned with augment or augment_by_passes; set "
                "one of these too"
            )

    @property
    def has_average(self) -> bool:
        """Whether the average of weights takes their place at the end."""
        return bool(self.ema or self.ema_share)

    @property
    def oversample(self) -> int:
        """Side of the pixels that are cached for training, in sides of the input."""
        if self.augment_by_passes:
            return AugmentSettings().oversample
        return self.augment.oversample if self.augment else 1

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
