"""Floating-point settings."""

import pytest

from src.numerics import branch_for

INTEL, AMD = "vendor_id\t: GenuineIntel\n", "vendor_id\t: AuthenticAMD\n"


@pytest.mark.parametrize(
    ("cpuinfo", "branch"),
    [
        (INTEL + "flags\t\t: fpu avx2 avx512f\n", "AVX512"),
        (INTEL + "flags\t\t: fpu avx avx2\n", "AVX2"),
        (INTEL + "flags\t\t: fpu avx\n", None),
        (AMD + "flags\t\t: fpu avx2 avx512f\n", None),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", None),
        ("", None),
    ],
)
def test_strict_products_are_chosen_by_the_processor(cpuinfo: str, branch: str | None) -> None:
    assert branch_for(cpuinfo) == branch
