"""The `gradio_client`: asked for an answer, and for each piece of it."""

from itertools import pairwise

from gradio_client import Client
from speech import URL, run

client = Client(URL, verbose=False)


def whole(text):
    return client.predict(text, api_name="/echo")


def streaming(text):
    job = client.submit(text, api_name="/echo")
    job.result()
    # Each output is all that was said so far.
    said = ["", *job.outputs()]
    assert all(now.startswith(before) for before, now in pairwise(said))
    return [now[len(before) :] for before, now in pairwise(said)]


run(whole, streaming)
