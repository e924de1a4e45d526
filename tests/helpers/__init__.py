"""What several test modules share."""

import pytest

pytest.register_assert_rewrite("tests.helpers.mixins")  # so that inherited tests say what differs
