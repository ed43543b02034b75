package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/bridge"
)

// bridgeHeaderTime bounds how long a request's header may take.
const bridgeHeaderTime = 10 * time.Second

func bridgeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "bridge [flags] -- COMMAND [ARGUMENT...]",
		Short: "Serve an MCP server that speaks stdio over streamable HTTP",
		Long: `Serve an MCP server that speaks stdio over streamable HTTP, for a host of the
service or a gateway to lead to. It starts the command without a shell, one
process for each session, for each person, or for all.

A process gets the variables PATH, HOME, LANG and their like, and those of
--env. It ends with its session, when it is idle, and with everything that it
started.

It asks for no sign-in of its own. On this computer it listens for it alone.
Elsewhere it wants the signed identity header of the service, which --issuer and
--resource check; --open does without, where the network lets nothing else in.

/healthz says that it runs, /readyz that the MCP server has answered initialize.

Exit codes: 0 once it was stopped, 1 if it cannot listen, 2 if called wrongly.`,
		Example: `  mcp-forward-auth bridge -- npx --yes @modelcontextprotocol/server-everything@2026.8.31
  mcp-forward-auth bridge --share user --issuer https://mcp.example.com --resource https://mcp.example.com/mcp -- my-server --stdio
  mcp-forward-auth bridge --listen :8081 --open --env GITHUB_TOKEN -- my-server`,
		Args: cobra.ArbitraryArgs,
	}
	var s bridge.Settings
	f := c.Flags()
	listen := f.String("listen", "127.0.0.1:8081", "`address` to listen on")
	open := f.Bool("open", false, "listen for others without the signed identity header")
	f.StringVar((*string)(&s.Sharing), "share", "session", "who shares a process: `session`, user or shared")
	f.StringVar(&s.Path, "path", "/mcp", "`path` of the endpoint")
	f.StringVar(&s.Issuer, "issuer", "", "public `origin` of the service that signs the identity header")
	f.StringVar(&s.Resource, "resource", "", "public `URL` of this MCP server, as in proxy.hosts")
	f.StringVar(&s.KeysURL, "keys-url", "", "`URL` of the service's keys, if not where its metadata says")
	f.StringVar(&s.IdentityHeader, "identity-header", "X-Auth-Request-Identity", "`name` of the signed identity header")
	f.StringArrayVar(&s.Env, "env", nil, "variable for processes, as `NAME` of the bridge's own or NAME=VALUE;\nmay be repeated")
	f.StringVar(&s.Dir, "dir", "", "`directory` in which processes run")
	f.IntVar(&s.MaxProcesses, "max-processes", 64, "`processes` at the same time")
	f.Float64Var(&s.StartRate, "start-rate", 10, "`processes` started a second")
	f.IntVar(&s.MaxLine, "max-message", 4<<20, "`bytes` of one message, in both directions")
	f.DurationVar(&s.IdleTimeout, "idle-timeout", 10*time.Minute, "`time` until a process without requests ends")
	f.DurationVar(&s.StartTimeout, "start-timeout", time.Minute, "`time` for the server to answer initialize")
	f.DurationVar(&s.Grace, "grace", 2*time.Second, "`time` to end by itself, and again after SIGTERM")
	f.Uint64Var(&s.MaxFiles, "max-files", 0, "open `files` of a process; 0 is the system's bound")
	f.Uint64Var(&s.MaxMemory, "max-memory", 0, "`bytes` of address space of a process; 0 is the system's\nbound")
	f.IntVar(&s.LogRate, "log-rate", 20, "`lines` a second of standard error in the log, for each process")
	f.StringArrayVar(&s.AllowedOrigin, "allow-origin", nil, "`origin` of web pages that may call; may be repeated")
	f.StringArrayVar(&s.AllowedHosts, "allow-host", nil, "`name` in Host besides localhost; may be repeated")
	c.RunE = func(c *cobra.Command, args []string) error {
		s.Command = args
		if err := s.Check(); err != nil {
			return usageError(c, err)
		}
		return runBridge(c, s, *listen, *open)
	}
	return c
}

// runBridge serves until it is stopped.
func runBridge(c *cobra.Command, s bridge.Settings, address string, open bool) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("bridge: %w", err)
	}
	defer listener.Close()
	at, local := listener.Addr().(*net.TCPAddr), false
	if at != nil {
		local = at.IP.IsLoopback()
	}
	if !local && s.Issuer == "" && !open {
		return usageError(c, fmt.Errorf("at %s everyone who reaches it would use the MCP server: check the signed identity header with --issuer and --resource, or say --open", address))
	}
	log := slog.New(slog.NewJSONHandler(c.ErrOrStderr(), nil))
	b := bridge.New(s, log, func() bool { return local })
	server := &http.Server{Handler: b, ReadHeaderTimeout: bridgeHeaderTime, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	ctx, cancel := untilStopped(c.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() { defer close(ended); b.Run(ctx) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("the bridge listens", "address", listener.Addr().String(), "path", s.Path)
	select {
	case err = <-served:
		cancel()
		<-ended
		return fmt.Errorf("bridge: %w", err)
	case <-ctx.Done():
	}
	<-ended // which ends the streams
	stop, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	if err := server.Shutdown(stop); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("bridge: %w", err)
	}
	return nil
}
