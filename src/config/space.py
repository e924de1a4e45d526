"""A search space in Hydra's own sweep syntax: choice(a,b), a,b, range(1,10), interval(0,1), tag(log, interval(1e-4,1))."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.config.hydra_internals import ConfigLoader, IntervalSweep, Override, RangeSweep, parse_space
from src.errors import ConfigError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Dimension:
    """One setting and the values it may take.

    Attributes:
        key: the setting, as it stands before the equals sign.
        choices: values as they stand after it; empty for a range.
        low: the lowest number of a range.
        high: the highest.
        step: between the numbers of a range; None for any between.
        log: whether ratios count and not differences.
        whole: whether the numbers are integers.
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
        """Overrides at the ends of the range, or every choice: what must be valid for all to be."""
        values = self.choices or (self._number(self.low), self._number(self.high))
        return [f"{self.key}={value}" for value in values]

    @property
    def values(self) -> list[Any]:
        """Every value, where they can be listed.

        Raises:
            ConfigError: between the ends of an interval there are too many.
        """
        if self.choices:
            return list(self.choices)
        if self.step is None:
            raise ConfigError(f"{self.key}: a grid needs choice(...) or range(...), not an interval.")
        count = math.floor((self.high - self.low) / self.step + 1e-9) + 1
        listed = [self.low + number * self.step for number in range(count)]
        return [int(value) for value in listed] if self.whole else listed

    def word(self, value: Any) -> str:
        """The override that sets a value."""
        return f"{self.key}={value if self.choices else self._number(value)}"

    def _number(self, value: float) -> str:
        return str(int(value)) if self.whole else repr(float(value))

    def distribution(self) -> "BaseDistribution":
        """In Optuna's words."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)


def split_space(
    params: Mapping[str, Any] | None, words: Iterable[str], loader: ConfigLoader | None = None
) -> tuple[list[str], list[Dimension]]:
    """Divide settings into fixed ones and the dimensions of a search.

    Args:
        params: ``hydra.sweeper.params``, key to value.
        words: the command line's overrides, which take precedence.
        loader: lists the choices of a group, for ``glob()``.

    Raises:
        ConfigError: a dimension that cannot be searched.
    """
    overrides = {o.get_key_element(): o for o in parse_space(params, words, loader)}
    fixed = [o.input_line or "" for o in overrides.values() if not o.is_sweep_override()]
    return fixed, [_dimension(o) for o in overrides.values() if o.is_sweep_override()]


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
