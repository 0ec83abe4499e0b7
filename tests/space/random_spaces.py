"""Random search spaces as YAML text, each with what its feasible configurations are by brute force.

The brute force shares nothing with the product's search: it evaluates expressions as Python, checks a configuration by resolving
a request, and counts the parameters of the module that it builds.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import log2
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from hypothesis import strategies as st

from trainables.configuration import ConfigurationError
from trainables.counts import measure_counts
from trainables.registry import architectures, tasks
from trainables.training.configuration import training_values
from trainables.training.request import RunRequest

Drawn = dict[str, Any]
VOCABULARY = 130

_WIDTHS = {"gpt": ("dk", "dv"), "delta_net": ("dk", "dv"), "unified_kv": ("du",)}
_DERIVED = (
    "{0} // 2",
    "{0} / 2",
    "2 * {0}",
    "max({0}, n_heads)",
    "dim // (n_heads - 1)",
    "{0} - 5",
    "ceil(log2({0})) + 1",
    "min([{0}, 9])",
)
_REQUIRE = (
    "{0} * n_heads <= 2 * dim",
    "dim % n_heads == 0",
    "{0} in [4, 6, 8, 12]",
    "n_heads == 1 or dim % (n_heads - 1) == 0",
    "not use_ffn or n_layers * dim < 60",
    "dim / (n_heads - 1) > 7",
    "training.batch_size <= dim",
    "training.lr * dim <= 0.1",
    "task.vocab_size > dim",
    "pos == 'rope' or {0} < dim",
)


@dataclass(frozen=True)
class RandomSpace:
    """``dimensions`` maps names to their values, ``written`` to how the YAML has them."""

    architecture: str
    dimensions: Mapping[str, tuple[Any, ...]]
    written: Mapping[str, str]
    derived: Mapping[str, str] = field(default_factory=dict)
    guards: Mapping[str, str] = field(default_factory=dict)
    require: tuple[str, ...] = ()
    searches_lr: bool = False
    window: tuple[int, int] | None = None
    sampler: str = "tpe"

    def yaml(self) -> str:
        own = {**self.written, **{name: f'"${{{text}}}"' for name, text in self.derived.items()}}
        model = "".join(f"    {name}: {text}\n" for name, text in own.items() if "." not in name)
        training = [f"{name.removeprefix('training.')}: {text}" for name, text in own.items() if name.startswith("training.")]
        training += ["lr: {float: [1e-4, 1e-1], log: true}"] if self.searches_lr else []
        constraints = [f"require: {json.dumps(self.require)}"] if self.require else []
        constraints += [f"params: {{scope: block, min: {self.window[0]}, max: {self.window[1]}}}"] if self.window else []
        return (
            f"task: {{name: mqar, vocab_size: {VOCABULARY}}}\n"
            f"architectures:\n  {self.architecture}:\n{model}"
            f"training: {{{', '.join(training)}}}\n"
            f"constraints: {{{', '.join(constraints)}}}\n"
            f"search: {{sampler: {self.sampler}}}\n"
        )

    def every_drawn(self) -> list[Drawn]:
        """All assignments of the discrete dimensions, inactive ones left out."""
        found: dict[str, Drawn] = {}
        for values in itertools.product(*self.dimensions.values()):
            complete = dict(zip(self.dimensions, values, strict=True))
            inactive = {name for name, guard in self.guards.items() if not self._holds(guard, complete)}
            drawn = {name: value for name, value in complete.items() if name not in inactive}
            found[repr(drawn)] = drawn
        return list(found.values())

    def _holds(self, guard: str, drawn: Drawn) -> bool:
        try:
            return bool(self.evaluate(guard, drawn, with_derived=False))
        except ArithmeticError:
            return False

    def evaluate(self, text: str, drawn: Drawn, with_derived: bool = True) -> Any:
        """An expression as Python has it, over the fields of one assignment."""
        fields = architectures()[self.architecture].configuration().to_values()
        training = training_values(tasks()["mqar"], {})
        fields |= {name: value for name, value in drawn.items() if "." not in name}
        training |= {name.removeprefix("training."): value for name, value in drawn.items() if "." in name}
        names = fields | {"task": SimpleNamespace(vocab_size=VOCABULARY), "training": SimpleNamespace(**training)}
        names |= {"ceil": _ceil, "log2": log2, "max": max, "min": min}
        for name, derived in self.derived.items() if with_derived else ():
            names[name] = eval(derived, {"__builtins__": {}}, dict(names))
        return eval(text, {"__builtins__": {}}, names)

    def model_values(self, drawn: Drawn) -> Drawn:
        own = {name: value for name, value in drawn.items() if "." not in name}
        return own | {name: self.evaluate(name, drawn) for name in self.derived}

    def request(self, drawn: Drawn) -> RunRequest:
        return RunRequest(
            run="",
            architecture=self.architecture,
            task="mqar",
            model=self.model_values(drawn),
            task_values={"vocab_size": VOCABULARY},
            training={name.removeprefix("training."): value for name, value in drawn.items() if "." in name},
            artifacts=Path(),
        )

    def meets_rules(self, drawn: Drawn) -> bool:
        """Everything but the window."""
        try:
            self.request(drawn).resolved()
            return all(self.evaluate(text, drawn) for text in self.require)
        except (ConfigurationError, ArithmeticError, ValueError):
            return False

    def block_parameters(self, drawn: Drawn) -> int:
        return _measured(self.architecture, json.dumps(self.model_values(drawn), sort_keys=True))

    def is_feasible(self, drawn: Drawn) -> bool:
        if not self.meets_rules(drawn):
            return False
        return self.window is None or self.window[0] <= self.block_parameters(drawn) <= self.window[1]


def _ceil(value: float) -> int:
    return -int(-value // 1)


@functools.lru_cache(maxsize=20_000)
def _measured(architecture: str, model: str) -> int:
    request = RunRequest(
        run="",
        architecture=architecture,
        task="mqar",
        model=json.loads(model),
        task_values={"vocab_size": VOCABULARY},
        artifacts=Path(),
    )
    resolved = request.resolved()
    with torch.device("meta"):
        return int(measure_counts(resolved.architecture.build(resolved.model, resolved.task)).block)


def _stepped(draw: Any, low: int, high: int) -> tuple[tuple[int, ...], str]:
    first, step, size = draw(st.integers(low, high)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    last = first + step * (size - 1)
    beyond = last + draw(st.integers(0, step - 1))
    return tuple(range(first, last + 1, step)), f"{{int: [{first}, {beyond}], step: {step}}}"


def _logarithmic(draw: Any, low: int, high: int) -> tuple[tuple[int, ...], str]:
    first, size = draw(st.integers(low, high)), draw(st.integers(1, 3))
    return tuple(range(first, first + size)), f"{{int: [{first}, {first + size - 1}], log: true}}"


def _chosen(draw: Any, values: tuple[Any, ...]) -> tuple[tuple[Any, ...], str]:
    chosen = tuple(draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)))
    return chosen, json.dumps({"choice": chosen}).replace('"choice"', "choice")


@st.composite
def random_spaces(draw: Any, with_window: bool = True, sampler: str = "tpe", searches_lr: bool | None = None) -> RandomSpace:
    """Of a few hundred configurations at most; a window is one that a configuration meets, where any meets the rules."""
    architecture = draw(st.sampled_from(sorted(_WIDTHS)))
    found: dict[str, tuple[tuple[Any, ...], str]] = {"n_layers": _chosen(draw, (1, 2)), "n_heads": _chosen(draw, (1, 2, 3))}
    found["dim"] = draw(st.sampled_from([_stepped, _logarithmic]))(draw, 8, 24)
    widths = _WIDTHS[architecture]
    found[widths[0]] = draw(st.sampled_from([_stepped, _logarithmic]))(draw, 2, 12)
    derived, guards = {}, {}
    if len(widths) > 1:
        if draw(st.booleans()):
            derived[widths[1]] = draw(st.sampled_from(_DERIVED)).format(widths[0])
        else:
            found[widths[1]] = _stepped(draw, 2, 12)
    if draw(st.booleans()):
        found["use_ffn"] = _chosen(draw, (True, False))
        found["ffn_expand_factor"] = _chosen(draw, (1, 2, 3))
        guards["ffn_expand_factor"] = draw(
            st.sampled_from(["use_ffn", "use_ffn and n_layers > 1", "dim > 14", "dim // (n_heads - 1) > 9"])
        )
    if draw(st.booleans()):
        found["pos"] = _chosen(draw, ("none", "rope"))
    if draw(st.booleans()):
        found["training.batch_size"] = _stepped(draw, 4, 16)
    templates = draw(st.lists(st.sampled_from(_REQUIRE), max_size=2, unique=True))
    lr = draw(st.booleans()) if searches_lr is None else searches_lr
    written = {name: text for name, (_, text) in found.items()}
    written |= {name: f"{written[name][:-1]}, when: {json.dumps(guard)}}}" for name, guard in guards.items()}
    space = RandomSpace(
        architecture=architecture,
        dimensions={name: values for name, (values, _) in found.items()},
        written=written,
        derived=derived,
        guards=guards,
        require=tuple(template.format(widths[0]) for template in templates),
        searches_lr=lr,
        sampler=sampler,
    )
    return _with_window(draw, space) if with_window and draw(st.booleans()) else space


def _with_window(draw: Any, space: RandomSpace) -> RandomSpace:
    candidates = [drawn for drawn in space.every_drawn() if space.meets_rules(drawn)]
    if not candidates:
        return space
    count = space.block_parameters(draw(st.sampled_from(candidates)))
    below, above = draw(st.integers(0, count // 5)), draw(st.integers(0, count // 5))
    return replace(space, window=(count - below, count + above))


def feasible_by_brute_force(space: RandomSpace) -> Iterator[Drawn]:
    return (drawn for drawn in space.every_drawn() if space.is_feasible(drawn))
