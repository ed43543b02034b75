./mcp-auth-proxy \
  --external-url https://mcp.example.com \
  --tls-accept-tos \
  --password changeme \
  -- npx -y @modelcontextprotocol/server-filesystem ./
