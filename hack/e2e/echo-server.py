"""An MCP server as the examples of other proxies have one behind them.

    python echo-server.py sse|http PORT PATH
"""

import json
import sys

from fastmcp import FastMCP
from fastmcp.server.dependencies import get_http_headers

mcp = FastMCP("Echo")


@mcp.tool
def echo_tool(message: str) -> str:
    """Echo a message as a tool"""
    return f"Tool echo: {message}"


@mcp.tool
def headers() -> str:
    """Says which headers reached this server"""
    return json.dumps(get_http_headers(include_all=True))


transport, port, path = sys.argv[1:]
mcp.run(transport=transport, host="127.0.0.1", port=int(port), path=path, show_banner=False)
