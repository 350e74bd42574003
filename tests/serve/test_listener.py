"""The socket that the service listens at, as asyncio, by which uvicorn serves, takes connections from it."""

import asyncio
import socket

import pytest

from serve.listener import bind


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_small_packet_of_an_answer_waits_for_the_acknowledgement_of_the_one_before(host: str) -> None:
    """Head and body of an answer are two packets; with Nagle's algorithm the second waits until the client acknowledges the first."""

    async def set_on_a_connection() -> int:
        found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = bind(host, 0)
        async with await asyncio.start_server(connected, sock=listener):
            _, writer = await asyncio.open_connection(host, listener.getsockname()[1])
            value = await found
            writer.close()
        return value

    assert asyncio.run(set_on_a_connection())
