"""What `--init` names: the weights that trainings start from, found and checked without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nas.errors import RunError
from nas.files import sha256_of, write_text
from nas.genome import Genome
from nas.models.pretrained.hub import HubFile
from nas.models.pretrained.published import PUBLISHED, published_name
from nas.models.pretrained.trials import trial_file
from nas.validation import nearest

AUTO, SCRATCH = "auto", "none"
_TRIAL = re.compile(r"(.+):(\d{1,9})")
_SUFFIXES = frozenset((".safetensors", ".npz", ".pth", ".pt", ".bin", ".ckpt"))


@dataclass(frozen=True)
class InitialWeights:
    """A file that trainings start from.

    Attributes:
        name: a published one's, the file's, or the trial's as `RUN:17`.
        path: of the file, whose digest has been checked.
        sha256: of the file, 64 hex digits.
    """

    name: str
    path: Path
    sha256: str

    @classmethod
    def of_file(cls, name: str, path: Path) -> InitialWeights:
        """Returns a file with its digest.

        Raises:
            RunError: it can't be read.
        """
        try:
            digest = sha256_of(path)
        except OSError as error:
            raise RunError(f"{path}: can't be read ({error.strerror}); name a file") from None
        return cls(name, path.absolute(), digest)

    @property
    def identity(self) -> str:
        """What of it is a run's identity: name and digest, wherever the file lies."""
        return f"{self.name} {self.sha256[:16]}"

    def __str__(self) -> str:
        """Returns name and digest for people."""
        return f"{self.name} (sha256 {self.sha256[:12]}…)"


@dataclass(frozen=True)
class Starts:
    """What the networks of a run start from.

    Attributes:
        published: by the names of the backbones whose weights they are.
        all: what every network starts from, whatever its backbone; None leaves it to `published`.
    """

    published: Mapping[str, InitialWeights] = field(default_factory=dict)
    all: InitialWeights | None = None

    def of(self, genome: Genome) -> InitialWeights | None:
        """Returns the weights that a network starts from; None where it is drawn whole.

        Args:
            genome: as it is trained.

        Raises:
            RunError: its backbone is a published one whose weights the run hasn't found.
        """
        if self.all is not None or not self.published:
            return self.all
        name = published_name(genome)
        if name is not None and name not in self.published:
            raise RunError(
                f"{genome.name or 'a network'} begins with {name}, and the run with "
                f"{', '.join(self.published)}; start from scratch with --init none"
            )
        return None if name is None else self.published[name]

    @property
    def files(self) -> tuple[InitialWeights, ...]:
        """All files, in the order of their names."""
        if self.all is not None:
            return (self.all,)
        return tuple(self.published[name] for name in sorted(self.published))

    @property
    def identity(self) -> str | None:
        """What of it is a run's identity; None from scratch."""
        return ", ".join(file.identity for file in self.files) or None

    def __str__(self) -> str:
        """Returns what all start from, for people."""
        return ", ".join(map(str, self.files)) or "from scratch"


FROM_SCRATCH = Starts()
"""All is drawn."""


def keep_start(path: Path, init: str, weights: InitialWeights | None) -> None:
    """Writes what a training starts from, beside its checkpoints.

    Args:
        path: `Run.start`.
        init: the setting.
        weights: what it came to; None from scratch.
    """
    file = weights and {"name": weights.name, "path": str(weights.path), "sha256": weights.sha256}
    write_text(path, json.dumps({"init": init, "file": file}, indent=1) + "\n")


def kept_start(path: Path) -> tuple[str | None, InitialWeights | None]:
    """Returns what a training started from: the setting, and its file.

    A training from before this was kept has no setting.

    Raises:
        RunError: the file is damaged.
    """
    if not path.is_file():
        return None, None
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        init, file = str(kept["init"]), kept["file"]
        if file is None:
            return init, None
        return init, InitialWeights(str(file["name"]), Path(file["path"]), str(file["sha256"]))
    except (OSError, ValueError, LookupError, TypeError):
        raise RunError(f"{path}: damaged; take another --run") from None


def resolve(init: str, genomes: Sequence[Genome], tell: Callable[[str], None] = print) -> Starts:
    """Finds the weights that `--init` means, and checks their digests.

    Only a name whose file is torchvision's and isn't in its cache opens a network.

    Args:
        init: `auto`, `none`, the name of published weights, a file, or a trial as `RUN:17`.
        genomes: the networks, as they are trained; of a space, draws that need all its sources.
        tell: shows a line, before a download.

    Returns:
        What these networks start from; with `auto`, from scratch where no source is known.

    Raises:
        RunError: one line that names what is missing or wrong, and the remedy.
    """
    if init == SCRATCH:
        return FROM_SCRATCH
    try:
        if init == AUTO:
            names = {name for name in map(published_name, genomes) if name is not None}
            return Starts({name: _found(name) for name in sorted(names)})
        if init in PUBLISHED:
            return Starts(all=_named(init, genomes, tell))
        trial = _TRIAL.fullmatch(init)
        if trial is not None and not Path(init).expanduser().exists():
            return Starts(all=_of_trial(Path(trial[1]).expanduser(), int(trial[2]), genomes))
        return Starts(all=_of_file(init))
    except RunError as error:
        raise RunError(f"--init {init}: {error}") from None


def _found(name: str) -> InitialWeights:
    """Returns published weights that are on this machine."""
    try:
        return InitialWeights.of_file(name, PUBLISHED[name].path())
    except RunError as error:
        fetch = f"--init {name} downloads them, " if name in _hub_names() else ""
        raise RunError(
            f"{name}'s weights: {error}; {fetch}--init none starts from scratch"
        ) from None


def _hub_names() -> list[str]:
    return [name for name, file in PUBLISHED.items() if isinstance(file, HubFile)]


def _named(name: str, genomes: Sequence[Genome], tell: Callable[[str], None]) -> InitialWeights:
    """Returns published weights by their name; downloads those that may be and aren't here."""
    others = {published_name(genome) for genome in genomes} - {name, None}
    if len(genomes) > 1 and others:
        raise RunError(
            f"the space has networks that begin with {', '.join(sorted(map(str, others)))}; take "
            "--init auto, or one backbone"
        )
    file = PUBLISHED[name]
    if isinstance(file, HubFile) and not file.cached.is_file():
        tell(f"--init {name}: downloading {file.url} to {file.cached}")
        return InitialWeights.of_file(name, file.download())
    return InitialWeights.of_file(name, file.path())


def _of_file(init: str) -> InitialWeights:
    """Returns a file of the user's."""
    path = Path(init).expanduser()
    if path.is_dir():
        raise RunError("is a folder; name a file in it, such as model.safetensors, or RUN:17")
    if not path.is_file():
        if path.suffix in _SUFFIXES or "/" in init:
            raise RunError("there is no such file")
        names = [AUTO, SCRATCH, *PUBLISHED]
        near = nearest(init, names)
        raise RunError(
            "no file, and no name of weights; "
            + (f"did you mean {near}?" if near else f"legal: {', '.join(names)}, FILE or RUN:17")
        )
    return InitialWeights.of_file(path.name, path)


def _of_trial(folder: Path, number: int, genomes: Sequence[Genome]) -> InitialWeights:
    """Returns the weights that a trial of a search has ended with."""
    if len(genomes) != 1:
        raise RunError("a trial's weights fit its own network alone; in a search take auto")
    return InitialWeights.of_file(f"{folder.name}:{number}", trial_file(folder, number, genomes[0]))
