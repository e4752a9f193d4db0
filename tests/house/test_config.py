"""Configs: what stands in the design's examples is read, what is wrong is named in one line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from nas import yamlfile
from nas.config.loading import EXPERIMENTS, find, load_run, load_search, load_train, to_yaml
from nas.config.overrides import Override
from nas.config.schema import SearchConfig, TrainConfig
from nas.errors import ConfigError
from nas.yamlfile import MAX_BYTES
from search_spaces.mobile.space import MobileSpaceSettings
from search_spaces.spinenet.space import SpineNetSpaceSettings

SEARCH = """
job: search
seed: 3
budget: 8h
data: {holdout: 0.2, holdout_by: images}
space: {name: spinenet, intermediates: 10, window: 5}
proxy: {name: training, images: 3000, recipe: {base: short, epochs: 6, batch_size: 16},
        scale: {width: 0.25, alpha: 0.25, neck_width: 64, head_width: 64, input_size: 128}}
objective: {maximize: ap50, limits: {params: 30.0e+6}}
controller: {name: ppo}
control: {share: 0.2}
finalists: {count: 3, length: 3, repeats: 3}
compute: {executor: ray, workers: 2, trial_timeout: 30m, max_failures: 0.3}
"""
TRAIN = """
job: train
genome: spinenet-49
recipe: spinenet_c
compute: {executor: ray, workers: 8, gpus_per_worker: 1}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "made.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_search_is_read_and_written_whole(tmp_path: Path) -> None:
    config = load_search(write(tmp_path, SEARCH))
    assert (config.seed, config.budget, config.data.holdout) == (3, "8h", 0.2)
    assert config.objective.limits == {"params": 30e6}
    assert config.proxy.recipe.epochs == 6
    assert config.proxy.recipe.optimizer == "adamw"  # the recipe's own
    assert load_run(Path(write(tmp_path, to_yaml(config)))) == config


def test_train_is_read_and_written_whole(tmp_path: Path) -> None:
    config = load_train(write(tmp_path, TRAIN))
    assert config.recipe.epochs == 500  # of the paper's protocol C
    resolved = to_yaml(config)
    assert load_run(Path(write(tmp_path, resolved))) == config
    assert yaml.safe_load(resolved)["compute"]["gpus_per_worker"] == 1


def test_defaults_are_complete() -> None:
    assert load_search(None) == SearchConfig()
    assert load_train(None) == TrainConfig()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_search(write(tmp_path, "# nothing\n")) == SearchConfig()


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("proxy.recipe.lr=1e-3", ("proxy", "recipe", "lr"), 1e-3),
        ("proxy.scale.alpha=0.25", ("proxy", "scale", "alpha"), 0.25),
        ("data.holdout_by=images", ("data", "holdout_by"), "images"),
        ("data.cache_dir=null", ("data", "cache_dir"), None),
        ("objective.minimize=[params, macs]", ("objective", "minimize"), ("params", "macs")),
    ],
)
def test_set_has_yaml_types(text: str, path: tuple[str, ...], value: object) -> None:
    found: object = load_search(None, [Override.parse("--set", text)])
    for name in path:
        found = getattr(found, name)
    assert found == value


def test_set_keeps_the_recipe_that_it_deviates_from(tmp_path: Path) -> None:
    config = load_train(write(tmp_path, TRAIN), [Override.parse("--set", "recipe.epochs=50")])
    assert (config.recipe.base, config.recipe.epochs, config.recipe.lr) == ("spinenet_c", 50, 0.28)


LAPTOP = {
    **{"width": 0.25, "alpha": 0.25, "neck_width": 32, "head_width": 32},
    **{"input_size": 128, "input_factor": None},
}


@pytest.mark.parametrize("by_option", [True, False], ids=["--set", "YAML"])
@pytest.mark.parametrize(
    ("key", "value"), [("scale.input_size", 192), ("scale.neck_width", None), ("recipe.lr", 1e-3)]
)
def test_a_part_of_the_proxy_leaves_the_other_defaults(
    tmp_path: Path, key: str, value: float | None, by_option: bool
) -> None:
    section, name = key.split(".")
    if by_option:
        config = load_search(None, [Override("--set", f"proxy.{key}", value)])
    else:
        text = yaml.safe_dump({"proxy": {section: {name: value}}})
        config = load_search(write(tmp_path, text))
    scale, recipe = config.proxy.scale.model_dump(), config.proxy.recipe
    assert scale == LAPTOP | ({name: value} if section == "scale" else {})
    assert (recipe.epochs, recipe.bn_momentum, recipe.batch_size) == (4, 0.1, 16)
    assert recipe.lr == (value if section == "recipe" else 3e-3)
    assert load_run(Path(write(tmp_path, to_yaml(config)))) == config


def test_a_factor_takes_the_place_of_the_default_input() -> None:
    def scale(*options: str) -> tuple[int | None, float | None]:
        given = [Override.parse("--set", f"proxy.scale.{option}") for option in options]
        found = load_search(None, given).proxy.scale
        return found.input_size, found.input_factor

    assert scale() == (128, None)
    assert scale("input_factor=0.5") == (None, 0.5)
    assert scale("input_factor=0.5", "input_factor=null") == (128, None)
    assert scale("input_factor=null", "input_size=null") == (None, None)
    with pytest.raises(ConfigError, match=r"input_size 96 and input_factor 0\.5: give one"):
        scale("input_size=96", "input_factor=0.5")
    training = [Override.parse("--set", "scale.input_factor=0.5")]
    assert load_train(None, training).scale.input_factor == 0.5


MOBILE = "space: {name: mobile, variant: ibn, deploy: {input_size: 160}, input_factors: [1.0]}"


def test_another_space_has_its_own_settings_and_scale(tmp_path: Path) -> None:
    config = load_search(write(tmp_path, MOBILE))
    assert isinstance(config.space, MobileSpaceSettings)
    assert (config.space.variant, config.space.deploy.input_size) == ("ibn", 160)
    plain = dict.fromkeys(LAPTOP) | {"width": 1.0, "input_factor": 0.5}
    assert config.proxy.scale.model_dump() == plain
    assert load_run(Path(write(tmp_path, to_yaml(config)))) == config
    changed = [Override("--set", "proxy.scale.input_size", 160)]
    config = load_search(write(tmp_path, MOBILE), changed)
    assert config.proxy.scale.model_dump() == plain | {"input_size": 160, "input_factor": None}
    assert load_run(Path(write(tmp_path, to_yaml(config)))) == config
    named = load_search(None, [Override.parse("--set", "space.name=mobile")])
    assert named.space == MobileSpaceSettings() and named.proxy.scale.width == 1.0
    assert load_search(None).space == SpineNetSpaceSettings()


@pytest.mark.parametrize("name", ["mobilenetv2-1.0", "mobilenetv3-large"])
def test_a_fixed_backbone_is_written_whole(tmp_path: Path, name: str) -> None:
    config = load_search(write(tmp_path, f"space: {{name: mobile, backbone: {name}}}"))
    text = to_yaml(config)
    assert yaml.safe_load(text)["space"]["deploy"]["mean"] == [0.485, 0.456, 0.406]
    assert load_run(Path(write(tmp_path, text))) == config


@pytest.mark.parametrize("text", ["short", "{base: short}"])
def test_a_proxy_s_recipe_with_a_base_is_that_one(tmp_path: Path, text: str) -> None:
    changed = [Override.parse("--set", "proxy.recipe.lr=1e-3")]
    recipe = load_search(write(tmp_path, f"proxy: {{recipe: {text}}}"), changed).proxy.recipe
    assert (recipe.base, recipe.epochs, recipe.bn_momentum) == ("short", 12, 0.1)
    assert recipe.lr == 1e-3


def test_a_training_s_recipe_and_scale_stay_as_deployed() -> None:
    changed = ["recipe.lr=1e-3", "scale.input_size=192"]
    config = load_train(None, [Override.parse("--set", text) for text in changed])
    assert (config.recipe.base, config.recipe.epochs, config.scale.width) == ("short", 12, 1.0)


def test_a_run_s_config_is_read_without_its_data(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    kept = SearchConfig(data_dir=gone)
    assert load_run(Path(write(tmp_path, to_yaml(kept)))) == kept
    for option in ([], [Override("--data", "data_dir", str(gone))]):
        with pytest.raises(ConfigError, match=f"there is no folder {gone}"):
            load_search(write(tmp_path, to_yaml(kept)), option)


def test_later_options_win() -> None:
    twice = [Override.parse("--set", "seed=1"), Override.parse("--set", "seed=2")]
    assert load_search(None, twice).seed == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgets: 3", "unknown key 'budgets'; did you mean 'budget'?"),
        ("data: {holdut: 0.1}", "unknown key 'holdut' in data; did you mean 'holdout'?"),
        ("proxy: {scale: {widht: 1}}", "in proxy.scale; did you mean 'width'?"),
        ("finalists: {zzz: 1}", "known: count, length, repeats"),
        ("proxy: {recipe: {epoch: 6}}", "did you mean 'epochs'?"),
        ("proxy: {recipe: shrot}", "did you mean 'short'?"),
        ("seed: three", "seed is 'three'; it should be a valid integer"),
        ("data: {holdout: 1.5}", "data.holdout is 1.5; it should be less than 1"),
        ("data: {holdout_by: video}", "it should be 'blocks' or 'images'"),
        ("data: 7", "data is 7; it should be a valid dictionary"),
        ("budget: 8x", "budget: '8x' is no duration"),
        ("budget: 0", "budget: 0 is no budget"),
        ("compute: {trial_timeout: soon}", "compute.trial_timeout: 'soon' is no duration"),
        ("space: {name: mobil}", "space.name is 'mobil'; it should be 'spinenet' or 'mobile'"),
        ("space: {backbone: x}", "unknown key 'backbone' in space; known: deploy, intermediates"),
        ("space: {name: mobile, window: 3}", "unknown key 'window' in space; known: backbone"),
        (
            "space: {name: mobile, variant: ibm}",
            "space.variant is 'ibm'; it should be 'ibn', 'ibn+",
        ),
        ("space: {name: mobile, deploy: {widht: 1}}", "in space.deploy; did you mean 'width'?"),
        ("space: {name: mobile, backbone: vgg}", "it should be 'searched', 'mobilenetv2-1.0', "),
        (
            "space: {name: mobile, boxes: {smallest: 0.99}}",
            "space.boxes: smallest 0.99 isn't below",
        ),
        ("space: 7", "space is 7; it should be a valid dictionary"),
        ("proxy: {scale: {input_size: 96, input_factor: 1}}", "proxy.scale: input_size 96 and inp"),
        ("job: train", "its job is train; type nas train"),
        ("job: dance", "job is 'dance'; it should be 'search'"),
        ("data_dir: /no/such/folder", "there is no folder /no/such/folder"),
        ("[1, 2]", "it should hold settings by name"),
        ("1: 2", "it should hold settings by name"),
        ("seed: 1\nseed: 2", "line 1: no YAML: a key stands here twice"),
        ("a: &a [1]\nb: *a", "line 2: no YAML: aliases are not read"),
        ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("seed: [1", "line 1: no YAML"),
        ("seed: \x00", "no YAML"),
        ("[" * 5_000, "no YAML"),
        ("# " + "x" * MAX_BYTES, "larger than 1 MB"),
    ],
)
def test_wrong_config_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    source = write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(message)) as refusal:
        load_search(source)
    assert str(refusal.value).startswith(source)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "option",
    ["seed=x", "data.holdut=1", "proxy.recipe.epochs=six", "proxy.recipe.epoch=6", "seed.x=1"],
)
def test_message_names_the_option(option: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--set {option}: ")):
        load_search(None, [Override.parse("--set", option)])


@pytest.mark.parametrize("text", ["seed", "=3", "a..b=1", "", "seed=[1"])
def test_option_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--set {text}")):
        Override.parse("--set", text)


def test_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "birds.yaml").write_text("seed: 5", encoding="utf-8")
    assert load_search("birds").seed == 5
    assert find("experiments/birds.yaml").is_file()
    with pytest.raises(ConfigError, match=r"bird: no such file.*did you mean 'birds'"):
        find("bird")


def test_configs_that_come_with_the_package_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for typed in ("spinenet_fod", "experiments/spinenet_fod.yaml"):
        assert find(typed) == EXPERIMENTS / "spinenet_fod.yaml"
    for typed in ("spinenet_fod.yaml", "elsewhere/spinenet_fod.yaml", "bench/spinenet_fod"):
        with pytest.raises(ConfigError, match=r"no such file.*did you mean 'spinenet_fod'"):
            find(typed)


def test_a_name_that_means_two_configs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "demo.yaml").write_text("seed: 5", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"demo: .* write experiments/demo\.yaml"):
        find("demo")
    assert load_search("experiments/demo.yaml").seed == 5


def test_binary_file(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="can't be read"):
        load_search(str(tmp_path / "x.yaml"))


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_experiments_are_valid(path: Path) -> None:
    load = load_train if yaml.safe_load(path.read_text())["job"] == "train" else load_search
    load(str(path))


@pytest.mark.parametrize("text", ["{" * 3000, "- " * 3000, "{a: " * 60])
def test_what_is_nested_deeper_than_any_config_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set x, line 1: no YAML: nested more than 50 levels"):
        yamlfile.read(text, "--set x")
