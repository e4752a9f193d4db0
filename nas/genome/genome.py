"""One architecture as data: what a controller proposes, a worker builds and a user ships."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError

from nas.errors import GenomeError
from nas.genome.blocks import Block, Tap
from nas.genome.graph import graph
from nas.genome.key import key
from nas.genome.layout import Layout, make_layout
from nas.genome.network import BatchNorm, Input, Scale, Truncation
from nas.genome.part import Part
from nas.genome.parts import HEADS, NECKS, HeadPart, Neck, NoNeck
from nas.validation import first_problem, nearest

if TYPE_CHECKING:
    import networkx

MAX_JSON_BYTES = 1_000_000
"""A genome of 200 blocks takes about 100 kB; a larger file isn't one."""
SIDE = 32
"""Sides that are multiples of it have maps of whole sizes at strides up to 32."""


class Genome(Part):
    """A detector's architecture, from input to head, as deployed.

    `blocks` is a listing: each block reads the picture or blocks listed before it. A block
    that no tap can be reached from stays in the listing, so that a code of decisions can be read
    back from it, and is left out of the network, its cost and its key.

    Example:
        >>> from search_spaces import zoo
        >>> genome = zoo.genome("spinenet-49")
        >>> Genome.from_json(genome.to_json()) == genome
        True
    """

    version: Literal[1] = 1
    name: Annotated[str, Field(max_length=200)] = ""
    input: Input = Input()
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=200)]
    taps: Annotated[tuple[Tap, ...], Field(min_length=1, max_length=32)]
    neck: Annotated[Neck, NECKS] = NoNeck()
    head: Annotated[HeadPart, HEADS]
    norm: BatchNorm = BatchNorm()
    scale: Scale = Scale()
    truncation: Truncation | None = None

    @cached_property
    def key(self) -> str:
        """Returns 64 hex digits, equal for two genomes if and only if they are the same network."""
        return key(self)

    @cached_property
    def layout(self) -> Layout:
        """Returns the resolved listing with the shapes of all maps.

        Raises:
            GenomeError: when the genome isn't legal.
        """
        return make_layout(self)

    # A method of this name hides pydantic's `validate`, a deprecated alias of `model_validate`.
    def validate(self) -> None:  # type: ignore[override]
        """Checks the structure.

        Raises:
            GenomeError: names the block (or part), what is wrong, and what would be legal.
        """
        _ = self.layout

    def graph(self) -> networkx.DiGraph:
        """Returns the shipped network as a graph, without blocks that reach no tap of it.

        Returns:
            Nodes are block ids, and `image`, with `level`, `type`, `width` (output
            channels), `size` (pixels) and `tap`; edges have `resampling`, such as
            `down 4`, `up 2`, `same` or `direct`, and `count`, how many times the block
            is read.
        """
        return graph(self)

    def to_json(self, indent: int | None = None) -> str:
        """Returns the genome as JSON, every field written out."""
        if indent is not None:
            return json.dumps(self.model_dump(mode="json"), indent=indent)
        fields = ((name, getattr(self, name)) for name in type(self).model_fields)
        return "{" + ",".join([f'"{name}":{_json(value)}' for name, value in fields]) + "}"

    @classmethod
    def from_json(cls, text: str | bytes, source: str = "genome JSON") -> Genome:
        """Reads what `to_json` wrote, or JSON written by hand, and validates it.

        Raises:
            GenomeError: in one line that names `source` and the field.
        """
        if len(text) > MAX_JSON_BYTES:
            raise GenomeError(f"{source}: {len(text):,} bytes; a genome has at most 1,000,000")
        try:
            genome = cls.model_validate_json(text)
        except ValidationError as error:
            raise GenomeError(f"{source}: {_refusal(error)}") from None
        try:
            genome.validate()
        except GenomeError as error:
            raise GenomeError(f"{source}: {error}") from None
        return genome

    @classmethod
    def from_file(cls, path: Path) -> Genome:
        """Reads a genome's JSON file.

        Raises:
            GenomeError: if it can't be read, or isn't one.
        """
        try:
            if path.stat().st_size > MAX_JSON_BYTES:
                raise GenomeError(f"{path}: larger than 1 MB; give the JSON file of one genome")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise GenomeError(f"{path}: can't be read as a genome's JSON ({error})") from None
        return cls.from_json(text, source=str(path))

    def scaled(
        self,
        *,
        width: float = 1.0,
        alpha: float | None = None,
        neck_width: int | None = None,
        head_width: int | None = None,
        input_size: int | None = None,
        input_factor: float | None = None,
    ) -> Genome:
        """Returns the same graph at another scale.

        Args:
            width: Factor on the width of every block.
            alpha: New α of every resampling that has one.
            neck_width: New width of the maps that the neck gives, where it sets one.
            head_width: New width of the head's towers, where it has any; also the neck's when
                `neck_width` isn't given, so that the head reads its own width.
            input_size: New side of the input in pixels.
            input_factor: Factor on the side, which becomes a multiple of `SIDE`. Of networks with
                different inputs the larger one stays the larger.

        Returns:
            A new genome.

        Raises:
            GenomeError: if a value is out of range, or both `input_size` and `input_factor` are
                given.
        """
        if input_factor is not None:
            if input_size is not None:
                raise GenomeError(
                    f"input_size {input_size} and input_factor {input_factor}: give one"
                )
            input_size = SIDE * max(1, int(self.input.size * input_factor / SIDE + 0.5))
        changes: dict[str, Any] = {}
        if neck_width is None:
            neck_width = head_width
        try:
            if width != 1.0:
                changes["scale"] = self.scale.replace(width=self.scale.width * width)
            if alpha is not None:
                changes["blocks"] = tuple(_with_alpha(block, alpha) for block in self.blocks)
            if neck_width is not None:
                changes["neck"] = self.neck.with_width(neck_width)
            if head_width is not None:
                changes["head"] = self.head.with_width(head_width)
            if input_size is not None:
                changes["input"] = self.input.replace(size=input_size)
            return self.replace(**changes)
        except ValidationError as error:
            raise GenomeError(_refusal(error)) from None


def _json(value: Any) -> str:
    """Puts JSON together from parts that may have theirs already, since genomes share them."""
    if isinstance(value, tuple):  # of blocks, or of taps
        return "[" + ",".join([part.signature for part in value]) + "]"
    if isinstance(value, Part):
        return value.signature
    return json.dumps(value)


def _with_alpha(block: Block, alpha: float) -> Block:
    edges = (edge.replace(resample=edge.resample.with_alpha(alpha)) for edge in block.inputs)
    return block.replace(inputs=tuple(edges))


def _refusal(error: ValidationError) -> str:
    """Returns the first of pydantic's problems as one line: field, what is wrong, the value."""
    problem = first_problem(error)
    # Names and tags come from the file: they may be long, or steer a terminal.
    steps = [str(step).encode("unicode_escape").decode() for step in problem.steps]
    where = ".".join(step[:64] for step in steps) or "document"
    value = str(problem.value)
    value = value if len(value) <= 60 else value[:57] + "..."
    message = problem.message.encode("unicode_escape").decode()[:400]
    if problem.kind == "extra_forbidden":
        near = nearest(str(problem.steps[-1])[:64], _field_names(Part))
        message = "no such field" + (f"; did you mean {near!r}?" if near else "; remove it")
    return f"{where}: {message} (met {value!r})"


def _field_names(part: type[Part]) -> set[str]:
    names = set(part.model_fields)
    return names.union(*(_field_names(kind) for kind in part.__subclasses__()))
