"""The only package of the proxy that knows aiohttp: its server, its parser, its WebSocket codec.

Each name of aiohttp's that is not part of its documented interface is used in one place here, and
`tests/proxy/codec/test_aiohttp_contract.py` says what is expected of it.
"""
