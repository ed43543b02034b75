package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/demo"
)

func demoCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the service with a sample MCP server, on this computer only",
		Long: `Run the service, and a sample MCP server that it serves without a gateway, on
loopback addresses. It prints what to connect an MCP client to, and who may
sign in. It reads no configuration and stores nothing.

Exit codes: 0 when told to stop, 1 if the address cannot be listened on, 2 if
called wrongly.`,
		Example: "  mcp-forward-auth demo\n  mcp-forward-auth demo --address 127.0.0.1:9000 --verbose",
		Args:    noArguments,
	}
	address := c.Flags().String("address", "", "loopback `ip:port` of the service (default 127.0.0.1:8970)")
	verbose := c.Flags().BoolP("verbose", "v", false, "log what the service does")
	c.RunE = func(c *cobra.Command, _ []string) error {
		level := slog.LevelWarn
		if *verbose {
			level = slog.LevelDebug
		}
		if *address != "" {
			if err := demo.CheckAddress(*address); err != nil {
				return usageError(c, err)
			}
		}
		ctx, stop := untilStopped(c.Context())
		defer stop()
		return demo.Run(ctx, demo.Options{Address: *address, Logger: logger(c.ErrOrStderr(), level), Version: buildVersion(), Out: c.OutOrStdout()})
	}
	return c
}
