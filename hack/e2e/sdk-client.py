"""The official Python SDK as a user has it: signs in, lists, calls echo, calls
get-sum, which the first token does not open, and lists again.

    PERSON=URL python sdk-client.py MCP_URL [TOOL ARGUMENTS]
    PERSON=URL STEPS=sdk|fastmcp python sdk-client.py MCP_URL

With a tool it calls that one alone, with arguments in JSON, and speaks HTTP+SSE, of
MCP 2024-11-05, where the URL ends in /sse.

A person stands at PERSON: it takes the address that a browser would open, and
answers with the parameters of the redirect. Prints one JSON line. With STEPS it
calls the tool that each line of the input names, and prints a line for each.
"""

import asyncio
import json
import os
import sys
import threading
import urllib.request
import webbrowser
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata

TARGET = sys.argv[1]


class Memory:
    """Keeps what the SDK gives it, as long as the program runs."""

    tokens = client_info = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client_info

    async def set_client_info(self, client_info):
        self.client_info = client_info


class Person:
    """Opens what the SDK would open in a browser."""

    async def redirected(self, url):
        async with httpx2.AsyncClient(timeout=30) as client:
            answer = await client.post(os.environ["PERSON"], content=url)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        self.answer = {name: values[0] for name, values in parse_qs(answer.text).items()}

    async def answered(self):
        return AuthorizationCodeResult(code=self.answer["code"], state=self.answer["state"], iss=self.answer.get("iss"))


def text(result):
    return ("error: " if result.is_error else "") + "".join(c.text for c in result.content)


async def names(client):
    return sorted(tool.name for tool in (await client.list_tools()).tools)


def provider():
    person = Person()
    return OAuthClientProvider(
        server_url=TARGET,
        client_metadata=OAuthClientMetadata(
            client_name="End-to-end Python client",
            redirect_uris=["http://127.0.0.1:33418/callback"],
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
            token_endpoint_auth_method="none",
        ),
        storage=Memory(),
        redirect_handler=person.redirected,
        callback_handler=person.answered,
    )


@asynccontextmanager
async def connected(auth):
    async with httpx2.AsyncClient(auth=auth, timeout=30) as http:
        transport = sse_client(TARGET, auth=auth) if TARGET.endswith("/sse") else streamable_http_client(TARGET, http_client=http)
        async with Client(transport) as client:
            yield client


async def main(report):
    async with connected(provider()) as client:
        report["revision"] = client.session.protocol_version
        report["before"] = await names(client)
        if len(sys.argv) > 2:
            report["echo"] = text(await client.call_tool(sys.argv[2], json.loads(sys.argv[3])))
            return
        report["echo"] = text(await client.call_tool("echo", {"message": "hello"}))
        report["sum"] = text(await client.call_tool("get-sum", {"a": 2, "b": 3}))
        report["after"] = await names(client)


def opened(url):
    """Stands for the browser that FastMCP opens: the person answers, and it goes back."""

    def go():
        with urllib.request.urlopen(os.environ["PERSON"], data=url.encode()) as answer:
            said = answer.read().decode()
        back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        urllib.request.urlopen(f"{back}?{said}").close()

    threading.Thread(target=go, daemon=True).start()


async def steps(kind):
    """Calls a tool for each line, as an application does that opens a new connection after an error."""
    if kind == "fastmcp":
        import fastmcp
        from fastmcp.client.auth import OAuth

        webbrowser.open = opened
        auth = OAuth(TARGET, callback_timeout=20)
        connect = lambda: fastmcp.Client(TARGET, auth=auth)
    else:
        auth = provider()
        connect = lambda: connected(auth)
    lines = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.strip())
        loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    name = await lines.get()
    while name is not None:
        answered = False
        try:
            async with connect() as client:
                while name is not None:
                    result = await client.call_tool(name, {})
                    print(json.dumps({"text": text(result)}), flush=True)
                    answered = True
                    name = await lines.get()
                    answered = False
        except BaseException as err:
            if not answered and name is not None:
                print(json.dumps({"error": said(err)}), flush=True)
                name = await lines.get()


def said(err):
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return f"{type(err).__name__}: {err}"


if "STEPS" in os.environ:
    asyncio.run(steps(os.environ["STEPS"]))
    sys.exit(0)
report = {}
try:
    asyncio.run(main(report))
except BaseException as err:  # groups of exceptions too
    report["error"] = said(err)
print(json.dumps(report))
sys.exit(1 if "error" in report else 0)
