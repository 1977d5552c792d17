"""Texts that hypothesis draws for tables."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tests.support.examples import examples

SLOW = settings(examples(50, 200), suppress_health_check=[HealthCheck.too_slow])


ALPHABET = st.lists(
    st.sampled_from(
        [
            b'"',
            b",",
            b";",
            b"\n",
            b"\r",
            b"\r\n",
            b"a",
            b"\xe9",
            b"\xc3\xa9",
            b"\0",
            b" ",
            b"\\",
            b"{",
            b"}",
            b"[",
            b"]",
        ]
    ),
    max_size=60,
).map(b"".join)
