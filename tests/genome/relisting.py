"""The same network listed otherwise, and networkx as the judge of what is the same."""

from __future__ import annotations

import random
from typing import Any

import networkx as nx

from nas.genome import Genome
from nas.genome.blocks import Block
from nas.genome.listing import resolve
from nas.genome.plan import lower


def relisted(genome: Genome, rng: random.Random) -> Genome:
    """New ids, another legal order of blocks, other orders of parents under sums."""
    if genome.truncation is not None:  # a range of the listing, so it comes before another order
        left, reads = resolve(genome)
        genome = genome.replace(truncation=None, blocks=tuple(left.values()), taps=reads)
    names = [f"n{i}" for i in rng.sample(range(1000), len(genome.blocks))]
    new = dict(zip((block.id for block in genome.blocks), names, strict=True), image="image")
    waiting, listed, blocks = list(genome.blocks), {"image"}, []
    while waiting:
        ready = [b for b in waiting if all(edge.block in listed for edge in b.inputs)]
        block = rng.choice(ready)
        waiting.remove(block)
        listed.add(block.id)
        edges = [edge.replace(block=new[edge.block]) for edge in block.inputs]
        if block.combine != "concat":
            rng.shuffle(edges)
        blocks.append(block.replace(id=new[block.id], inputs=tuple(edges)))
    taps = tuple(tap.replace(block=new[tap.block]) for tap in genome.taps)
    return genome.replace(name="relisted", blocks=tuple(blocks), taps=taps)


def without_ranks(genome: Genome) -> Genome:
    """No stochastic depth: blocks that differed by rank alone become alike."""
    return genome.replace(blocks=tuple(block.replace(rank=None) for block in genome.blocks))


def judged(genome: Genome) -> nx.MultiDiGraph:
    """The network as a labelled multigraph, pruned by networkx's own reachability."""
    graph = nx.MultiDiGraph()
    graph.add_node("image", what="image")
    for block in genome.blocks:
        graph.add_node(block.id, what=_node(block))
        for position, edge in enumerate(block.inputs):
            order = position if block.combine == "concat" and len(block.inputs) > 1 else None
            what = edge.model_dump_json(exclude={"block"}) + str(order)
            graph.add_edge(edge.block, block.id, what=what)
    reached: set[str] = set()
    for position, tap in enumerate(genome.taps):
        what = tap.model_dump_json(exclude={"block"})
        graph.nodes[tap.block]["what"] += f" tap {position} {what}"
        reached |= nx.ancestors(graph, tap.block) | {tap.block}
    return graph.subgraph(reached | {"image"}).copy()


def _node(block: Block) -> str:
    combine = block.combine if len(block.inputs) > 1 else "sum"
    return f"{combine} {block.model_dump_json(exclude={'id', 'inputs', 'combine'})}"


def same(first: nx.MultiDiGraph, second: nx.MultiDiGraph) -> bool:
    """Isomorphic as networkx decides it, with all fields of blocks and edges equal."""
    return bool(
        nx.is_isomorphic(
            first,
            second,
            node_match=nx.algorithms.isomorphism.categorical_node_match("what", None),
            edge_match=nx.algorithms.isomorphism.categorical_multiedge_match("what", None),
        )
    )


def random_convolutions(rng: random.Random, blocks: int) -> Genome:
    """Equal convolutions wired at random: as many symmetries as a small graph can have."""
    listed: list[dict[str, Any]] = []
    for i in range(blocks):
        parents = ["image"]
        if i and rng.random() < 0.8:
            parents = [f"b{rng.randrange(i)}" for _ in range(rng.choice((1, 1, 2, 2, 3)))]
        block: dict[str, Any] = {
            "id": f"b{i}",
            "level": 0,
            "op": {"type": "conv", "width": 8},
            "inputs": [{"block": parent} for parent in parents],
        }
        if len(parents) > 1 and rng.random() < 0.2:
            block["combine"] = "concat"
        listed.append(block)
    boxes = {"type": "default_boxes", "scale": 0.2, "next_scale": 0.4}
    taps = [f"b{blocks - 1}"] + [f"b{rng.randrange(blocks)}"] * (rng.random() < 0.3)
    genome = Genome.model_validate(
        {
            "input": {"size": 32},
            "blocks": listed,
            "taps": [{"block": tap} for tap in taps],
            "head": {"type": "ssd", "anchors": [boxes] * len(taps)},
        }
    )
    lower(genome)
    return genome
