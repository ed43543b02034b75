docker run -d --name mcp-oauth-proxy -p 8080:8080 \
  -e OAUTH_CLIENT_ID="1234567890-gmail.apps.googleusercontent.com" \
  -e OAUTH_CLIENT_SECRET="GOCSPX-3f9Qm1vXw8Kd0aRz" \
  -e OAUTH_AUTHORIZE_URL="https://accounts.google.com" \
  -e SCOPES_SUPPORTED="openid,email,profile,https://www.googleapis.com/auth/gmail.readonly" \
  -e MCP_SERVER_URL="http://localhost:9000/mcp/gmail" \
  -e ENCRYPTION_KEY="b2Jvd2VsbGVuY3J5cHRpb25rZXlvZjMyYnl0ZXMhISE=" \
  ghcr.io/obot-platform/mcp-oauth-proxy:latest
