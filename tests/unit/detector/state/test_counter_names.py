"""What names say of metrics."""

from __future__ import annotations

import pytest

from detector.state.counter_names import is_hinted_counter, is_named_counter


@pytest.mark.parametrize(
    "stream",
    [
        "web-1/http_requests_total",
        "http_requests_total",
        "web-1:9100{job=node}/node_network_receive_bytes_total",
        "web-1/http_requests_total{code=200}/value",
        "web-1/http_requests_total/counter",
        "web-1/http_requests/counter",
        "web-1/process_cpu_seconds_total",
    ],
)
def test_a_total_is_a_counter(stream: str) -> None:
    assert is_named_counter(stream)


@pytest.mark.parametrize(
    "stream",
    [
        "web-1/mem_total",
        "web-1/swap_total",
        "web-1/node.memory_total",
        "web-1/Mem_total{host=a}/value",
        "web-1/mem/total",
        "web-1/total",
        "web-1/requests",
        "requests_total/latency",
        "web-1/requests_total_seconds",
    ],
)
def test_capacities_and_other_names_are_not(stream: str) -> None:
    assert not is_named_counter(stream)


@pytest.mark.parametrize(
    ("stream", "is_hinted"),
    [
        ("web/requests.count", True),
        ("web/latency_seconds_sum", True),
        ("web/net/bytes_recv", True),
        ("web/diskio{name=sda}/reads", True),
        ("web/rx_packets", True),
        ("web/discount", False),
        ("web/temperature", False),
        ("web/count/temperature", False),
    ],
)
def test_some_names_hint_at_a_counter(stream: str, is_hinted: bool) -> None:
    assert is_hinted_counter(stream) == is_hinted
