mcp-auth-proxy npx -y @modelcontextprotocol/server-filesystem ./
