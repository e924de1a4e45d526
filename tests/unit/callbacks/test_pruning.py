"""Settings of pruning that are refused."""

import pytest

from src.config.command_line import parse
from src.config.compose import preflight
from src.errors import ConfigError
from src.training.check import check_targets


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["callbacks.pruning.amount=1"], "amount=1"),
        (["callbacks.pruning.end_epoch=11"], "end_epoch=11 must be at most trainer.max_epochs=10"),
        (["callbacks.pruning.start_epoch=2"], "at least start_epoch=2"),
        (["callbacks=[pruning,ema]"], "average"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words: list[str], said: str):
    def refuse() -> None:
        [config] = preflight(parse(["callbacks=pruning", "trainer.max_epochs=10", *words]))
        check_targets(config)

    with pytest.raises(ConfigError) as refused:
        refuse()
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
