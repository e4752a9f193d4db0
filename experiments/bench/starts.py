"""What a pretrained start, a larger input and augmentation give, in equal processor time.

    python experiments/bench/starts.py --data DIR --out DIR2 [--seconds 240]

A full 2×2×2 over EfficientNet-Lite0 as a backbone (whole, or cut behind its first block of width
192), the side of the input (two, at which the whole network on the smaller and the cut one on the
larger do about the same multiply-adds), and augmentation (mirrored images alone, or by passes).
Besides, single rows: Lite0 from scratch, Lite1 and Lite2, all whole, on the smaller input, by
passes. All have an SSDlite head on strides 16 and 32 and two coarser maps.

A training takes so many steps as its arm makes in `--seconds` of one thread's processor time; see
`transfer.py`. Seed 0 is trained at each of three rates; what is best there is trained with the
other seeds too. Scores are those of the hold-out of `train`.
"""

from __future__ import annotations

import itertools

from transfer import (
    RATES,
    Arm,
    Row,
    Training,
    forward_ms,
    lite,
    options_parser,
    rows_of,
    scores_in_words,
    steps_of,
    train_missing,
)

from nas.report.intervals import mean_interval

SIDES = (160, 192)
CUT = 12
"""The first row of width 192, of rows 0 to 16."""
FACTORS = ("cut", "large", "passes")
Levels = tuple[bool, ...]


def arm_of(
    levels: Levels = (False, False, True), *, backbone: int = 0, pretrained: bool = True
) -> Arm:
    """Returns the arm with these levels of `FACTORS`, on the backbone Lite0, 1 or 2."""
    cut, large, passes = levels
    side, last = SIDES[large], CUT if cut else None
    genome = lite(backbone, side, last=last, finest=16, rfcr=None, extras=2, extra_width=0.5)
    words = [f"lite{backbone}", "cut" if cut else "whole", f"{side}px"]
    words += ["passes" if passes else "mirror", *([] if pretrained else ["scratch"])]
    return Arm("-".join(words), genome.to_json(), pretrained, passes)


CROSSED: dict[Levels, Arm] = {
    levels: arm_of(levels) for levels in itertools.product((False, True), repeat=3)
}
SINGLE = (arm_of(pretrained=False), arm_of(backbone=1), arm_of(backbone=2))


def table(best: dict[str, list[Row]], times: dict[str, float]) -> str:
    """Returns a line for each arm at its best rate, then each factor's main effect."""
    lines = ["| arm | lr | steps | MACs | inference | AP50 | AP |", "|---|---|---|---|---|---|---|"]
    for name, rows in best.items():
        first = rows[0]
        cells = [name, f"{first['lr']:g}", str(first["steps"]), f"{first['macs'] / 1e6:.0f} M"]
        cells += [f"{times[name]:.1f} ms"]
        cells += [scores_in_words(rows, metric) for metric in ("ap50", "ap")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| factor | AP50, 95 % | AP, 95 % |", "|---|---|---|"]
    for at, factor in enumerate(FACTORS):
        effects = [effect(best, at, metric) for metric in ("ap50", "ap")]
        lines.append(f"| {factor} | " + " | ".join(effects) + " |")
    return "\n".join(lines)


def effect(best: dict[str, list[Row]], factor: int, metric: str) -> str:
    """Returns a factor's main effect: the mean over the other factors' levels and the seeds."""
    differences = []
    for levels, arm in CROSSED.items():
        if not levels[factor]:
            other = CROSSED[(*levels[:factor], True, *levels[factor + 1 :])]
            pairs = zip(best[arm.name], best[other.name], strict=True)
            differences += [high[metric] - low[metric] for low, high in pairs]
    mean, least, most = mean_interval(differences)
    return f"{mean:+.3f} ({least:+.3f} to {most:+.3f})"


def main() -> None:
    """Trains what is missing, prints and writes the table."""
    options = options_parser(__doc__, seeds=2).parse_args()
    data, out, workers = options.data, options.out, options.workers
    out.mkdir(parents=True, exist_ok=True)
    arms = (*CROSSED.values(), *SINGLE)
    steps = steps_of(arms, data, out, seconds=options.seconds, workers=workers)
    first = [
        Training(arm, lr, 0, steps[arm.name], data)
        for lr, arm in itertools.product(sorted(RATES, key=lambda lr: abs(lr - 3e-3)), arms)
    ]
    rows, again = train_missing(first, out, workers), []
    for arm in arms:
        lr = max(rows_of(arm, rows), key=lambda row: row["ap50"])["lr"]
        again += [Training(arm, lr, seed, steps[arm.name], data) for seed in range(options.seeds)]
    rows = train_missing(again, out, workers)
    best = {arm.name: rows_of(arm, rows) for arm in arms}
    text = table(best, dict(forward_ms(arms, out)))
    (out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
