"""The choices of the callbacks group."""


# -- what is said while a run trains


def test_one_thing_to_see_can_be_added(compose):
    names = set(compose("callbacks=[default,histograms,watch]")["callbacks"])
    assert names == {*compose()["callbacks"], "histograms"}
