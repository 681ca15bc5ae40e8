"""Flask, as apps read a message: prints nothing, answers the texts that it took for the message."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask, jsonify, request
from werkzeug.serving import make_server

app = Flask(__name__)


@app.post("/chat")
@app.post("/json")
def chat() -> Any:
    if request.is_json:
        return jsonify([request.get_json().get("user_message")])
    return jsonify(
        [request.form.get("user_message"), request.values.get("user_message"), *request.form.getlist("user_message[]")]
    )


make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True).serve_forever()
