"""An MCP server as FastMCP's users write it: python fastmcp-server.py PORT"""

import sys

from fastmcp import FastMCP

mcp = FastMCP("e2e-fastmcp")


@mcp.tool
def echo(message: str) -> str:
    """Says what it is told"""
    return f"Echo: {message}"


@mcp.tool(name="get-sum")
def get_sum(a: int, b: int) -> str:
    """Adds two numbers"""
    return f"The sum of {a} and {b} is {a + b}."


mcp.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]), show_banner=False)
