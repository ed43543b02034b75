// Package demo runs the whole picture in one process on loopback: the service, and
// a sample MCP server that it serves without a gateway. It is for trying things
// out and for tests; nothing in it is weaker than in production but plain http.
package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/egress"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/registration"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/sample"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// Options are the demo's few settings.
type Options struct {
	Address  string // of the service; "127.0.0.1:8970" if empty
	Password string // of the user "demo"; random if empty
	Logger   *slog.Logger
	Version  string
	Out      io.Writer // gets the instructions
	// Network is how clients' metadata documents are reached; zero is the internet.
	Network egress.Network
}

const user = "demo"

const (
	publisher    = "https://claude.ai/oauth/claude-code-client-metadata"
	probeTimeout = 3 * time.Second
)

// Run starts everything, prints how to connect, and serves until ctx ends.
func Run(ctx context.Context, o Options) error {
	if o.Address == "" {
		o.Address = "127.0.0.1:8970"
	}
	if o.Password == "" {
		o.Password = strings.ToLower(rand.Text()[:10])
	}
	front, err := listenLoopback(o.Address)
	if err != nil {
		return err
	}
	listeners := []net.Listener{front}
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		listeners = append(listeners, l)
	}
	management, tools := listeners[1], listeners[2]

	host := front.Addr().String()
	cfg, err := configuration(host, tools.Addr().String(), o.Password)
	if err != nil {
		return err
	}
	unreachable := probe(ctx, o.Network)
	cfg.Registration.MetadataDocuments.Enabled = unreachable == nil
	service, err := server.New(cfg, server.Options{Logger: o.Logger, Version: o.Version, Network: o.Network})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 2)
	go func() { done <- service.Serve(ctx, server.Listeners{Protocol: front, Management: management}) }()
	go func() {
		done <- serve(ctx, tools, http.StripPrefix("/mcp", sample.Handler(sample.Options{Stateless: true, Version: o.Version})))
	}()
	fmt.Fprint(o.Out, instructions(host, management.Addr().String(), o.Password)+offline(unreachable))

	var first error
	for range 2 {
		if err := <-done; err != nil && first == nil {
			first = err
		}
		stop() // the others are of no use alone
	}
	return first
}

// configuration is a file like an operator's, loaded like one.
func configuration(host, tools, password string) (*config.Config, error) {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return nil, fmt.Errorf("password: %w", err)
	}
	return config.Parse(fmt.Appendf(nil, `
provider:
  name: static
  users:
    - username: %s
      passwordHash: %q
      email: demo@example.com
      name: Demo User
      groups: [engineering]
proxy:
  hosts:
    - host: %q
      scheme: http
      endpoint: http://%s/mcp
      displayName: Demo notes server
      serve: {enabled: true}
      cors: {allowedOrigins: ["*"]}  # a token and no cookie opens the door, so any page may ask
`, user, hash, host, tools), nil)
}

// listenLoopback refuses to put plain http on a network.
// CheckAddress reports what is wrong with an address for the demo.
func CheckAddress(addr string) error {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("address %q is not of the form ip:port, such as 127.0.0.1:8970", addr)
	}
	if !at.Addr().Unmap().IsLoopback() {
		return fmt.Errorf("address %q: the demo speaks plain http and listens on a loopback IP only, such as 127.0.0.1:8970", addr)
	}
	return nil
}

func listenLoopback(addr string) (net.Listener, error) {
	if err := CheckAddress(addr); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%w (choose another with --address)", err)
	}
	return l, nil
}

func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute}
	context.AfterFunc(ctx, func() { srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// probe says why this computer cannot fetch the documents by which some clients
// are known, nil if it can. It asks once, for that of the client which the
// instructions name first: such clients never fall back by themselves, so they
// must not be told of documents where this fails.
func probe(ctx context.Context, network egress.Network) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client := egress.Client{Network: network}
	_, err := client.Get(ctx, egress.Request{URL: publisher, Accept: "application/json", Limit: registration.MaxDocumentBytes})
	if errors.Is(err, egress.ErrUnreachable) {
		return err
	}
	return nil // any answer shows that there is a way
}

// offline says what follows from a probe that failed.
func offline(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(`  Note: this computer cannot fetch %s
    (%v).
    So clients are not told of such documents and register here instead; sign-in works all the same.
    In a real service behind a proxy set egress.proxy; without any way out set
    registration.metadataDocuments.enabled: false.

`, publisher, err)
}

// instructions are what a newcomer needs, ready to paste.
func instructions(host, management, password string) string {
	mcp := "http://" + host + "/mcp"
	return fmt.Sprintf(`
  mcp-forward-auth demo is running, on this computer only.

    MCP server   %[1]s
    user         %[2]s
    password     %[3]s
    metrics      http://%[4]s/metrics

  Add it to your MCP client; a browser opens, you choose what to allow and sign in:

    Claude Code     claude mcp add --transport http demo %[1]s
                    claude mcp login demo

    Codex           codex mcp add demo --url %[1]s
                    codex mcp login demo

    Copilot CLI     copilot mcp add --transport http demo %[1]s
                    then, inside copilot:  /mcp auth demo

    Gemini CLI      gemini mcp add --transport http demo %[1]s
                    then, inside gemini:  /mcp auth demo

    opencode        put this into opencode.json, then:  opencode mcp auth demo
                    {"mcp": {"demo": {"type": "remote", "url": "%[1]s"}}}

    VS Code         code --add-mcp '{"name":"demo","type":"http","url":"%[1]s"}'

    Cursor          put this into ~/.cursor/mcp.json
                    {"mcpServers": {"demo": {"url": "%[1]s"}}}

    MCP Inspector   npx @modelcontextprotocol/inspector
                    transport "Streamable HTTP", URL %[1]s

  Or see what an anonymous client sees:

    curl -i -X POST %[1]s

  Stop with Ctrl-C. Everything is in memory; nothing remains.

`, mcp, user, password, management)
}
