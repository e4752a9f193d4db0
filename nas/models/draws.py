"""Random draws in a model that don't depend on how a batch is divided."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


class DrawsByImage:
    """A module that draws random numbers for each image.

    For a part of a larger batch it draws for all of that and takes its own, so that parts, each
    begun with the same state of the generator, have the numbers that the whole would have.
    """

    first_image, batch_images = 0, 0

    def draw(self, numbers: Callable[[int], Tensor], images: int) -> Tensor:
        """Draws for the images of an input.

        Args:
            numbers: draws for n images, `(n, …)`, with torch's generator.
            images: of the input.
        """
        if self.batch_images in (0, images):
            return numbers(images)
        return numbers(self.batch_images)[self.first_image : self.first_image + images]


def drawing_modules(model: nn.Module) -> list[DrawsByImage]:
    """Returns the modules of a model that draw for each image."""
    return [module for module in model.modules() if isinstance(module, DrawsByImage)]


@contextmanager
def drawing_for(modules: list[DrawsByImage], first_image: int, batch_images: int) -> Iterator[None]:
    """Lets modules draw for a part of a batch, while the context lasts.

    Args:
        modules: those that draw.
        first_image: number in the batch of the first image that they get.
        batch_images: of the whole batch.
    """
    for module in modules:
        module.first_image, module.batch_images = first_image, batch_images
    try:
        yield
    finally:
        for module in modules:
            module.first_image, module.batch_images = 0, 0
