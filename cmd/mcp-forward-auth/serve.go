package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the service",
		Long: `Run the service until it gets SIGTERM or SIGINT. It then refuses readiness
probes for a moment, lets requests under way end, and exits; a second signal
ends it at once.

The configuration file and the files it names are read again when they change,
and on SIGHUP, which also opens the audit file again. A mistake leaves in force
what is; some keys take effect at the next start alone. See docs/reload.md. The
log is JSON on standard output.

Exit codes: 0 when told to stop, 1 if the configuration has mistakes or an
address cannot be listened on, 2 if called wrongly.`,
		Example: "  mcp-forward-auth serve --config /etc/mcp-forward-auth/config.yaml",
		Args:    noArguments,
	}
	path := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *path == "" {
			return usageError(c, errNoConfig)
		}
		return serve(c.Context(), *path, c.OutOrStdout())
	}
	return c
}

func serve(ctx context.Context, path string, out io.Writer) error {
	// Without this the signal would end the process, and it may come while that starts.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	ctx, stop := untilStopped(ctx)
	defer stop()
	source := config.NewReader(path)
	cfg, err := goodFile(path, source.Load)
	if err != nil {
		return err
	}
	level := new(slog.LevelVar)
	s, err := server.New(cfg, server.Options{Logger: logger(out, level), Level: level, Version: buildVersion()})
	if err != nil {
		return err
	}
	go s.Follow(ctx, source, hangup)
	return s.Run(ctx)
}

func logger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
