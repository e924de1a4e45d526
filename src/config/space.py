"""Search spaces in Hydra's sweep syntax: choice(a,b), a,b, range(1,10), interval(0,1), tag(log, interval(1e-4,1))."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from src.config.hydra_internals import ConfigLoader, IntervalSweep, Override, RangeSweep, parse_overrides, parse_space
from src.errors import ConfigError, suggest
from src.records.settings import as_word

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Dimension:
    """One dimension of a search space: a setting and its values.

    Attributes:
        key: the setting, as written before the equals sign.
        choices: categorical values, as written after the equals sign; empty for a range.
        low: lower bound of a range.
        high: upper bound of a range, inclusive.
        step: discretization step of a range; None for a continuous range.
        log: whether values are sampled from the logarithmic domain.
        whole: whether the values are integers.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def extremes(self) -> list[str]:
        """Overrides at both ends of the range, or of every choice; the dimension is valid if these are."""
        values = self.choices or (self._number(self.low), self._number(self.high))
        return [f"{self.key}={value}" for value in values]

    @property
    def values(self) -> list[Any]:
        """Every value, for a grid.

        Raises:
            ConfigError: the range is continuous.
        """
        if self.choices:
            return list(self.choices)
        if self.step is None:
            raise ConfigError(f"{self.key}: a grid needs choice(...) or range(...), not an interval.")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        listed = [self.low + number * self.step for number in range(count)]
        return [int(value) for value in listed] if self.whole else listed

    def word(self, value: Any) -> str:
        """The override that sets this value."""
        return f"{self.key}={value if self.choices else self._number(value)}"

    def parse(self, value: Any) -> Any:
        """The value of the Optuna parameter that stands for a value of the setting.

        Raises:
            ConfigError: the dimension does not contain the value.
        """
        if self.choices:
            words = [*self.choices, *([value] if isinstance(value, str) else [])]
            parsed = [override.value() for override in parse_overrides(f"{self.key}={word}" for word in words)]
            wanted = parsed.pop() if isinstance(value, str) else value
            if wanted in parsed:
                return self.choices[parsed.index(wanted)]
            values = ", ".join(self.choices)
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and self.low <= value <= self.high and (not self.step or self._steps(value).is_integer()):
                return int(value) if self.whole else float(value)
            values = f"from {self._number(self.low)} to {self._number(self.high)}"
            values += f" in steps of {self._number(self.step)}" if self.step and self.step != 1 else ""
        raise ConfigError(f"{self.key}={as_word(value)} is outside the space, which is {values}.")

    def contains(self, value: Any) -> bool:
        """Whether the dimension contains a value of the setting."""
        try:
            self.parse(value)
        except (ConfigError, HydraException):
            return False
        return True

    def _steps(self, value: float) -> float:
        return round((value - self.low) / (self.step or 1), 6)

    def _number(self, value: float) -> str:
        return str(int(value)) if self.whole else repr(float(value))

    def distribution(self) -> "BaseDistribution":
        """The corresponding Optuna distribution."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


def split_space(
    params: Mapping[str, Any] | None, words: Iterable[str], loader: ConfigLoader | None = None
) -> tuple[list[str], list[Dimension]]:
    """Split settings into fixed overrides and the dimensions of a search space.

    Args:
        params: ``hydra.sweeper.params``, key to value.
        words: overrides of the command line, which take precedence.
        loader: lists the options of a config group, for ``glob()``.

    Raises:
        ConfigError: a dimension cannot be searched.
    """
    overrides = {o.get_key_element(): o for o in parse_space(params, words, loader)}
    for key, override in overrides.items():
        if override.is_sweep_override() and key.startswith(("hydra.", "hydra/")):
            raise ConfigError(f"{override.input_line}: a search has one value of {key}: set one.")
    fixed = [o.input_line or "" for o in overrides.values() if not o.is_sweep_override()]
    return fixed, [_dimension(o) for o in overrides.values() if o.is_sweep_override()]


def applicable(optional: Mapping[str, Any] | None, config: DictConfig) -> dict[str, Any]:
    """The entries of ``hydra.sweeper.optional`` whose settings a configuration has."""
    found = {}
    for key, value in (optional or {}).items():
        group, _, name = str(key).rpartition(".")
        node = OmegaConf.select(config, group) if group else config
        if isinstance(node, DictConfig) and name in node:
            found[str(key)] = value
    return found


def start_points(search: Mapping[str, Any], space: Sequence[Dimension], fixed: Iterable[str]) -> list[dict[str, Any]]:
    """The first points of a search, from ``hydra.sweeper.start``: for each the values that are set, by their keys.

    Settings that are fixed, or that the configuration lacks, are left out.

    Args:
        search: the settings of the search.
        space: the search space.
        fixed: overrides that all jobs share.

    Raises:
        ConfigError: a setting is not searched, or a value is outside the space.
    """
    dimensions = {dimension.key: dimension for dimension in space}
    unused = {word.partition("=")[0] for word in fixed} | set(search.get("optional") or ())
    points = []
    for settings in search.get("start") or ():
        for key in settings:
            if key not in dimensions and key not in unused:
                raise ConfigError(
                    f"hydra.sweeper.start: {key} is not searched{suggest(key, dimensions) or '; give it a range or leave it out.'}"
                )
        try:
            points.append({key: dimensions[key].parse(value) for key, value in settings.items() if key in dimensions})
        except ConfigError as error:
            raise ConfigError(
                f"hydra.sweeper.start: {error} Change one of them, or set hydra.sweeper.start=[]."
            ) from None
    if points and search["sampler"] == "grid":
        raise ConfigError(
            "hydra.sweeper.start: the points of a grid are fixed: leave it out, or choose another sampler."
        )
    return points


def _dimension(override: Override) -> Dimension:
    key, sweep, line = override.get_key_element(), override.value(), override.input_line
    if override.is_choice_sweep():
        choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise ConfigError(f"{line}: there is nothing to choose from.")
        return Dimension(key, choices=choices)
    if isinstance(sweep, RangeSweep):
        values = list(sweep.range())
        if not values:
            raise ConfigError(f"{line}: this range is empty.")
        whole = all(isinstance(value, int) for value in values)
        return Dimension(key, low=min(values), high=max(values), step=abs(float(sweep.step)), whole=whole)
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        if low is None or high is None or not low < high:
            raise ConfigError(f"{line}: an interval goes from a smaller number to a larger one.")
        if "log" in sweep.tags and low <= 0:
            raise ConfigError(f"{line}: a logarithmic interval begins above 0.")
        whole = "int" in sweep.tags or (isinstance(low, int) and isinstance(high, int) and "float" not in sweep.tags)
        return Dimension(key, low=low, high=high, log="log" in sweep.tags, whole=whole)
    raise ConfigError(f"{line}: a search knows choice(...), glob(...), range(...) and interval(...).")
