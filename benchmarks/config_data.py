"""Small training files that hold whatever a config asks for: made from the config itself.

Inputs are normal numbers; labels have the values that their task knows; jets have 0 to 12 constituents of each stream.

Shapes: N jets of a file, L slots for constituents, M slots for objects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

from salt.data.labeller import RENAMED

Config = Mapping[str, Any]
Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]
"""Values of a column, of this shape."""

SLOTS = 12
PARTS = ("train", "val", "test")
ON_GLOBAL = ("global", "parameters")
"""Streams whose variables are columns of the global object."""
OBJECTS = "objects"
"""The stream of a MaskFormer's objects."""
KNOWN_LABELS = ("ftagTruthOriginLabel", "ftagTruthTypeLabel", "ftagTruthSourceLabel")
"""Labels whose classes no file has to name."""
CLASSES = ("bjets", "cjets", "ujets", "taujets", "hbb", "hcc", "top", "qcd", "inclusive_top")
NO_LABEL = -2
"""Label of a slot without a constituent."""
SHARE_OF_NAN = 0.1
"""How many jets have no value of a target."""
FIELD = re.compile(r"\s*(\w+)")


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.standard_normal(shape, np.float32)


def positive(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1 + random.standard_exponential(shape, np.float32)


def narrow(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return random.uniform(-1, 1, shape).astype("f4")


def sometimes_nan(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.where(random.random(shape) < SHARE_OF_NAN, np.float32(np.nan), positive(random, shape))


def one_of(values: Sequence[float], dtype: str = "i4") -> Draw:
    return lambda random, shape: random.choice(np.asarray(values, dtype), shape)


def model_of(config: Config) -> Config:
    return config["model"]["model"].get("init_args", {})


def tasks_of(config: Config) -> list[Config]:
    """The arguments of each task, and its class under `class_path`."""
    model = model_of(config)
    if "tasks" not in model:  # of the end of 2022
        return [in_todays_words(task) for net in ("jet_net", "track_net") for task in listed(model.get(net))]
    modules = model["tasks"]["init_args"]["modules"]
    return [{"class_path": module["class_path"], **module.get("init_args", {})} for module in modules]


def in_todays_words(task: Config) -> Config:
    """The arguments of a task that names its stream with its label, and brings its net."""
    arguments = task["init_args"]
    stream, _, label = arguments["label"].partition("/")
    named = {"class_path": "ClassificationTask", "input_name": stream, "label": label}
    return {**arguments, **named, "dense_config": arguments["net"]["init_args"]}


def listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


class Wanted:
    """The columns that a config asks for.

    Parameters
    ----------
    config : Config
        A whole config, as a mapping.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.data: Config = config["data"]
        self.global_object: str = self.data.get("global_object") or "jets"
        self.columns: dict[str, dict[str, Draw]] = {self.dataset(self.global_object): {}}
        self.attributes: dict[str, dict[str, list[str]]] = {}
        for stream in self.data["variables"]:
            self.columns.setdefault(self.dataset(stream), {})
        # what is drawn in a way of its own comes first: a column that is there stays
        for find in (
            self._made, self._labels, self._objects, self._parameters, self._selections, self._multi_targets,
            self._edges,
        ):  # fmt: skip
            find()
        self._targets()
        self._written()
        for stream, names in self.data["variables"].items():
            self._add(stream, names, normal)
        for name in self.made:
            self.columns[self.dataset(self.global_object)].pop(name, None)

    def dataset(self, stream: str) -> str:
        """Name of a stream's dataset."""
        names = self.data.get("input_map") or {}
        if stream == OBJECTS and self.data.get("mf_config"):
            return self.data["mf_config"]["object"]["name"]
        if stream in ON_GLOBAL and stream not in names:
            stream = self.global_object
        return names.get(stream, stream)

    @property
    def num_objects(self) -> int:
        """M"""
        return model_of(self.config).get("mask_decoder", {}).get("init_args", {}).get("num_objects", 5)

    def is_global(self, dataset: str) -> bool:
        """Whether a dataset has one row a jet."""
        return dataset == self.dataset(self.global_object)

    def _add(self, stream: str, names: Sequence[str], draw: Draw) -> None:
        for name in names:
            self.columns.setdefault(self.dataset(stream), {}).setdefault(name, draw)

    def _made(self) -> None:
        """Columns that are worked out of others while they are read."""
        self.made = {entry["custom_target"] for entry in self.data.get("multi_target") or []}
        self.labeller = self.data.get("labeller_config") or {}
        if self.labeller.get("use_labeller"):
            self.made.add("flavour_label")

    def _labels(self) -> None:
        for task in tasks_of(self.config):
            stream, label = task["input_name"], task.get("label")
            if label is None:
                continue
            if task["class_path"].endswith("VertexingTask"):
                self._add(stream, [label], one_of(range(-2, 4)))
                self._add(stream, [label.replace("VertexIndex", "OriginLabel")], one_of(range(8)))
                continue
            number = task["dense_config"]["output_size"]
            self._add(stream, [label], one_of(sorted({*(task.get("label_map") or {}), *range(number)})))
            dataset = self.dataset(stream)
            if self.is_global(dataset) and not task.get("class_names") and label not in KNOWN_LABELS:
                self.attributes.setdefault(dataset, {})[label] = list(CLASSES[:number])

    def _targets(self) -> None:
        for task in tasks_of(self.config):
            stream = task["input_name"]
            own = set(self.data["variables"].get(stream, [])) | set(listed(task.get("target_denominators")))
            for name in listed(task.get("targets")):
                if name not in own:
                    self._add(stream, [name], sometimes_nan if self.is_global(self.dataset(stream)) else positive)
            self._add(stream, listed(task.get("target_denominators")), positive)
            self._add(stream, listed(task.get("sample_weight")), positive)

    def _objects(self) -> None:
        """The dataset of objects, and the number of its object that each constituent has."""
        config = self.data.get("mf_config")
        if config:
            self._add(OBJECTS, [config["object"]["id_label"], config["object"]["class_label"]], one_of([-1]))
            self._add(config["constituent"]["name"], [config["constituent"]["id_label"]], one_of([-1]))

    def _parameters(self) -> None:
        for name, values in (self.data.get("parameters") or {}).items():
            self._add("parameters", [name], one_of([*values["train"], values["test"]], "f4"))

    def _edges(self) -> None:
        """Momenta and angles of which features of pairs can be made, none of them across the end of the circle."""
        for entry in self.data.get("edge_constructors") or []:
            names = self.data["variables"][entry["input_name"]]
            for name, draw in {"pt": positive, "phi": narrow, "subjetIndex": one_of(range(3), "f4")}.items():
                self._add(entry["input_name"], [name] if name in names else [], draw)

    def _selections(self) -> None:
        for stream, cuts in (self.data.get("selections") or {}).items():
            names = [found[1] for cut in cuts if (found := FIELD.match(cut))]
            self._add(stream, names, normal)

    def _multi_targets(self) -> None:
        for entry in self.data.get("multi_target") or []:
            self._add(entry["input_name"], [entry["sel_label"]], one_of([entry["value"], 0]))
            self._add(entry["input_name"], [entry["source"]], sometimes_nan)

    def _written(self) -> None:
        """What is copied to evaluation files."""
        for callback in (self.config.get("trainer") or {}).get("callbacks") or []:
            arguments = callback.get("init_args") or {}
            copied = {**(arguments.get("extra_vars") or {})}
            copied.setdefault(self.global_object, arguments.get("jet_variables") or [])
            copied.setdefault("tracks", arguments.get("track_variables") or [])
            for stream, names in copied.items():
                if self.dataset(stream) in self.columns:
                    self._add(stream, [name for name in names if name != "valid"], normal)

    def draw(self, jets: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Records of each dataset: (N,), (N, L) or (N, M)."""
        records = {dataset: self._drawn(dataset, jets, random) for dataset in self.columns}
        if self.labeller.get("use_labeller"):
            fulfil(records[self.dataset(self.global_object)], self.labeller["class_names"], random)
        if self.data.get("mf_config"):
            self._give_objects(records, random)
        return records

    def _drawn(self, dataset: str, jets: int, random: np.random.Generator) -> np.ndarray:
        columns, slots = self.columns[dataset], self._slots(dataset)
        shape = (jets,) if self.is_global(dataset) else (jets, slots)
        values = {name: draw(random, shape) for name, draw in columns.items()}
        if self.is_global(dataset) and self.labeller.get("use_labeller"):
            values |= {name: np.zeros(shape, "i4") for name in fields_of(self.labeller["class_names"])}
        if not self.is_global(dataset):
            filled = np.arange(slots) < random.integers(0, slots + 1, jets)[:, None]
            values = {name: blank(column, filled) for name, column in values.items()} | {"valid": filled}
        records = np.zeros(shape, [(name, column.dtype) for name, column in values.items()])
        for name, column in values.items():
            records[name] = column
        return records

    def _slots(self, dataset: str) -> int:
        """L of a dataset, or M: at least what `data.num_inputs` asks for."""
        if dataset == self.dataset(OBJECTS) and self.data.get("mf_config"):
            return self.num_objects
        wanted = (self.data.get("num_inputs") or {}).items()
        return max([SLOTS, *(number for stream, number in wanted if self.dataset(stream) == dataset)])

    def _give_objects(self, records: dict[str, np.ndarray], random: np.random.Generator) -> None:
        """Objects with barcodes and classes, and a barcode, or none, for each constituent."""
        config = self.data["mf_config"]
        objects, tracks = records[self.dataset(OBJECTS)], records[self.dataset(config["constituent"]["name"])]
        classes = config["object"]["object_classes"]
        null = next(of["raw"] for name, of in classes.items() if name in {None, "null"})
        real = [of["raw"] for name, of in classes.items() if name not in {None, "null"}]
        there = objects["valid"]
        barcodes = np.where(there, 10 + np.arange(objects.shape[1]), -1)
        objects[config["object"]["id_label"]] = barcodes
        objects[config["object"]["class_label"]] = np.where(there, random.choice(real, there.shape), null)
        of = random.integers(0, objects.shape[1], tracks.shape)
        tracks[config["constituent"]["id_label"]] = np.where(
            tracks["valid"], np.take_along_axis(barcodes, of, axis=1), -1
        )


def blank(column: np.ndarray, filled: np.ndarray) -> np.ndarray:
    """A column (N, L) with what slots without a constituent hold."""
    return np.where(filled, column, NO_LABEL if column.dtype.kind == "i" else 0).astype(column.dtype)


def cuts_of(name: str) -> Iterator[tuple[str, str, Any]]:
    """Field, operator and value of each cut that defines a class of jets."""
    from ftag import Flavours

    for cut in Flavours[RENAMED.get(name, name)].cuts:
        yield cut.variable, cut.operator, cut.value


def fields_of(classes: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(field for name in classes for field, _, _ in cuts_of(name)))


def fulfil(records: np.ndarray, classes: Sequence[str], random: np.random.Generator) -> None:
    """Make each jet (N,) one of a random class."""
    chosen = random.integers(0, len(classes), len(records))
    for place, name in enumerate(classes):
        rows = np.flatnonzero(chosen == place)
        for field, operator, value in cuts_of(name):
            first = value[0] if isinstance(value, list | tuple) else value
            records[field][rows] = first + {">": 1, "<": -1, "!=": 1}.get(operator, 0)


def norms(wanted: Wanted) -> dict[str, dict[str, dict[str, float]]]:
    """Dataset -> variable -> mean and width."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for stream, names in wanted.data["variables"].items():
        found.setdefault(wanted.dataset(stream), {}).update({name: {"mean": 0.1, "std": 1.5} for name in names})
    return found


def class_weights(wanted: Wanted) -> dict[str, dict[str, list[float]]]:
    """Dataset -> label -> weights of its classes."""
    found: dict[str, dict[str, list[float]]] = {}
    for task in tasks_of(wanted.config):
        if task["class_path"].endswith("ClassificationTask"):
            weights = [1 + 0.25 * place for place in range(task["dense_config"]["output_size"])]
            found.setdefault(wanted.dataset(task["input_name"]), {})[task["label"]] = weights
    return found


def make_files(config: Config, folder: Path, jets: int = 200, seed: int = 0) -> dict[str, Path]:
    """Write files for training, validation and test, and the dictionaries: key of `data` -> file.

    Parameters
    ----------
    config : Config
        A whole config, as a mapping.
    folder : Path
        Where to.
    jets : int
        N.
    seed : int
        Of all values.
    """
    wanted = Wanted(config)
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"{part}_file": folder / f"pp_output_{part}.h5" for part in PARTS}
    for place, path in enumerate(files.values()):
        with h5py.File(path, "w") as file:
            for name, records in wanted.draw(jets, np.random.default_rng([seed, place])).items():
                file[name] = records
                file[name].attrs.update(wanted.attributes.get(name, {}))
    files |= {name: folder / f"{name}.yaml" for name in ("norm_dict", "class_dict")}
    files["norm_dict"].write_text(yaml.safe_dump(norms(wanted)))
    files["class_dict"].write_text(yaml.safe_dump(class_weights(wanted)))
    return files
