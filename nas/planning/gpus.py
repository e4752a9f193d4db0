"""What a search of `gpus_per_worker: auto` runs on: a short trial tells how many share a GPU."""

from __future__ import annotations

import copy

from nas.config.loading import load_run
from nas.config.schema import SearchConfig
from nas.executors.gpu_share import fit_to_gpus, largest_candidate
from nas.executors.settings import ComputeSettings, SearchComputeSettings
from nas.runs.folder import Run
from nas.study.proposals import Costs
from nas.ui.console import console
from proxies.base import Proxy
from search_spaces.base import DetectorSpace


def on_gpus(
    config: SearchConfig, run: Run, proxy: Proxy, space: DetectorSpace, costs: Costs
) -> SearchConfig:
    """Puts numbers in the place of `gpus_per_worker: auto`: a begun run's own, or measured ones.

    Args:
        config: of the search.
        run: begun or not.
        proxy: what a trial is.
        space: of the candidates.
        costs: of a candidate; the one of most multiply-adds is measured.

    Raises:
        NasError: the short trial failed.
    """
    compute = config.compute
    if compute.gpus_per_worker != "auto":
        return config
    kept = compute
    if run.config.is_file() and isinstance(before := load_run(run.config), SearchConfig):
        kept = before.compute
    if kept.gpus_per_worker == "auto":
        chosen: SearchComputeSettings = _measured(config, proxy, space, costs)
    elif kept.gpus and "workers" not in compute.model_fields_set:
        chosen = kept
    else:
        chosen = kept.model_copy(update={"workers": compute.workers})
    if chosen.gpus:
        console.print(f"{chosen.workers} trials at once, each with {chosen.gpus:g} of a GPU")
    changes = {"workers": chosen.workers, "gpus_per_worker": chosen.gpus_per_worker}
    return config.model_copy(update={"compute": compute.model_copy(update=changes)})


def _measured(
    config: SearchConfig, proxy: Proxy, space: DetectorSpace, costs: Costs
) -> ComputeSettings:
    trial = copy.copy(proxy.shortened())
    trial.device = "cuda"
    return fit_to_gpus(
        config.compute.with_threads(config.proxy.threads),
        trial,
        lambda: largest_candidate(space, config.objective, costs, config.seed),
    )
