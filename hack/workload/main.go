// Command workload is a program of a pod that has nothing but the tokens of its
// ServiceAccount. It calls an MCP server in two ways: with an access token, for which
// it shows the first of them at the token endpoint (RFC 7523), and with the second
// itself. Where the endpoint is it finds out as every MCP client does. It prints one
// JSON line about what happened.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

func main() {
	server := flag.String("url", "", "`URL` of the MCP server")
	assertion := flag.String("assertion", "", "`file` with the token for the token endpoint")
	direct := flag.String("direct", "", "`file` with the token for the MCP server itself")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report := map[string]any{}
	if token, err := exchange(ctx, *server, *assertion); err != nil {
		report["exchanged"] = failed(err)
	} else {
		report["scope"], report["refreshToken"] = token.Extra("scope"), token.RefreshToken != ""
		report["exchanged"] = outcome(whoami(ctx, *server, token))
	}
	if raw, err := os.ReadFile(*direct); err != nil {
		report["direct"] = failed(err)
	} else {
		report["direct"] = outcome(whoami(ctx, *server, &oauth2.Token{AccessToken: strings.TrimSpace(string(raw))}))
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		panic("internal error: " + err.Error())
	}
}

func failed(err error) map[string]any { return map[string]any{"error": err.Error()} }

func outcome(who any, err error) any {
	if err != nil {
		return failed(err)
	}
	return who
}

const bearerGrant = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// exchange gets an access token for the one in the file.
func exchange(ctx context.Context, server, file string) (*oauth2.Token, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	endpoint, err := tokenEndpoint(ctx, server)
	if err != nil {
		return nil, err
	}
	// No client is in the request: the assertion says who asks.
	config := oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: endpoint, AuthStyle: oauth2.AuthStyleInParams}}
	return config.Exchange(ctx, "", oauth2.SetAuthURLParam("grant_type", bearerGrant),
		oauth2.SetAuthURLParam("assertion", strings.TrimSpace(string(raw))), oauth2.SetAuthURLParam("resource", server))
}

// tokenEndpoint is what the challenge of the MCP server leads to.
func tokenEndpoint(ctx context.Context, server string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server, strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	challenges, err := oauthex.ParseWWWAuthenticate(resp.Header.Values("WWW-Authenticate"))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || len(challenges) == 0 {
		return "", fmt.Errorf("without a token: %s, challenge %q, %v", resp.Status, resp.Header.Values("WWW-Authenticate"), err)
	}
	// The SDK reads both documents too, but at no private address, such as those in a cluster.
	var resource struct {
		Resource             string   `json:"resource"`
		AuthorizationServers []string `json:"authorization_servers"`
	}
	if err := read(ctx, challenges[0].Params["resource_metadata"], &resource); err != nil {
		return "", err
	}
	if resource.Resource != server || len(resource.AuthorizationServers) == 0 {
		return "", fmt.Errorf("the resource is %q, with %d authorization servers", resource.Resource, len(resource.AuthorizationServers))
	}
	issuer := resource.AuthorizationServers[0]
	u, err := url.Parse(issuer)
	if err != nil {
		return "", err
	}
	var meta struct {
		Issuer        string   `json:"issuer"`
		TokenEndpoint string   `json:"token_endpoint"`
		Grants        []string `json:"grant_types_supported"`
	}
	if err := read(ctx, u.Scheme+"://"+u.Host+"/.well-known/oauth-authorization-server"+u.Path, &meta); err != nil {
		return "", err
	}
	if meta.Issuer != issuer || !slices.Contains(meta.Grants, bearerGrant) {
		return "", fmt.Errorf("the issuer is %q, with the grants %q", meta.Issuer, meta.Grants)
	}
	return meta.TokenEndpoint, nil
}

// read gets a JSON document.
func read(ctx context.Context, at string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", at, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// whoami calls the tool that says whom the MCP server was told of.
func whoami(ctx context.Context, server string, token *oauth2.Token) (any, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "workload", Version: "1"}, nil)
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint: server, MaxRetries: -1, HTTPClient: oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)),
	}, nil)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	result, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
	if err != nil {
		return nil, err
	}
	if result.IsError {
		return nil, errors.New("whoami failed")
	}
	return result.StructuredContent, nil
}
