"""Reads bodies as a server on Python would; see read.mjs."""
import base64
import json
import sys

sys.set_int_max_str_digits(0)
OPERAND = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


def read(message):
    method = message.get("method") or ""
    name = OPERAND.get(method)
    return [method, (message.get("params") or {}).get(name) or "" if name else ""]


for line in sys.stdin:
    answer = None
    try:
        body = json.loads(base64.b64decode(line))
        answer = [read(m) for m in (body if isinstance(body, list) else [body])]
    except Exception:
        pass
    print(json.dumps(answer))
