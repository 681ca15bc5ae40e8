"""A program that stores, changes and deletes credentials for ever, and says each time when it is done.

Run as `python write_until_killed.py URL ROUND`: prints `kept ORGANIZATION` for what was acknowledged as
stored with its second key, `gone ORGANIZATION` for what was acknowledged as deleted.
"""

from __future__ import annotations

import asyncio
import sys
from itertools import count

from sidecar.secret import Secret
from tests.support.vaults import ALICE, OPENAI_KEY, OTHER_KEY, open_vault


async def main(url: str, number: str) -> None:
    async with open_vault(url) as vault:
        print("open", flush=True)

        async def writer(name: str) -> None:
            for n in count():
                organization = f"r{number}-{name}-{n}"
                made = await vault.credentials.create(ALICE, organization, "openai", Secret(OPENAI_KEY))
                await vault.credentials.rotate(ALICE, organization, made.id, Secret(OTHER_KEY))
                if n % 3:
                    print(f"kept {organization}", flush=True)
                else:
                    await vault.credentials.delete(ALICE, organization, made.id)
                    print(f"gone {organization}", flush=True)

        await asyncio.gather(writer("a"), writer("b"))


asyncio.run(main(*sys.argv[1:]))
