package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
)

// Exit codes of doctor, for scripts.
const (
	exitFaults = exitFailed // it ran and found faults
	exitNotRun = exitUsage
)

// visit is one call of doctor.
type visit struct {
	doctor.Options
	gateway string
	asJSON  bool
	out     io.Writer
}

func doctorCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "doctor URL",
		Short: "Check a protected MCP server from outside and name each fault",
		Long: `Send a protected MCP server some thirty requests, as MCP clients do, and name
each fault with its remedy. It works with any authorization server. With
--gateway and no URL it prints the whole configuration for that gateway. With
--all and no URL it checks once that every MCP server of a configuration file is
closed.

Exit codes: 0 without a fault, 1 with faults, 2 if it could not run.`,
		Example: `  mcp-forward-auth doctor https://mcp.example.com/mcp
  mcp-forward-auth doctor https://mcp.example.com/mcp --gateway ingress-nginx --login
  mcp-forward-auth doctor --all --config /etc/mcp-forward-auth/config.yaml`,
	}
	var v visit
	flags := c.Flags()
	flags.StringVar(&v.gateway, "gateway", "", "show what to write for this gateway, by `name`: "+strings.Join(doctor.Gateways(), ", "))
	_ = c.RegisterFlagCompletionFunc("gateway", cobra.FixedCompletions(doctor.Gateways(), cobra.ShellCompDirectiveNoFileComp))
	flags.BoolVar(&v.Register, "register", false, "register a client, which some servers store")
	flags.BoolVar(&v.Login, "login", false, "sign in with a browser on this computer, and test the rest with the token; registers a client")
	flags.StringVar(&v.ClientID, "client-id", "", "sign in as this client `id` instead of registering one")
	assertion := flags.String("assertion", "", "present the workload's token in this `file` instead of a sign-in, and test the rest with it")
	v.scope(flags)
	flags.DurationVar(&v.LoginTimeout, "login-timeout", 5*time.Minute, "how long to wait for the sign-in")
	all := flags.Bool("all", false, "check once that every MCP server of --config is closed, as the gate watch does")
	path := configFlag(c)
	wantsJSON := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) (err error) {
		if v.asJSON, err = wantsJSON(); err != nil {
			return err
		}
		v.out = c.OutOrStdout()
		recipe, known := doctor.Recipe(v.gateway)
		switch {
		case *all && len(args) > 0:
			return usageError(c, errors.New("--all takes its URLs from --config; leave the URL out"))
		case *all && *path == "":
			return usageError(c, errors.New("--all needs --config FILE, which names the MCP servers"))
		case *all:
			return v.gates(c.Context(), *path)
		case v.gateway != "" && !known:
			return usageError(c, fmt.Errorf("there is no recipe for %q; there are %s", v.gateway, strings.Join(doctor.Gateways(), ", ")))
		case len(args) == 0 && known:
			_, err := io.WriteString(c.OutOrStdout(), recipe)
			return err
		case len(args) != 1:
			return usageError(c, errors.New("give the URL of one MCP server, such as https://mcp.example.com/mcp"))
		}
		if err := errors.Join(v.knowsSkipped(), v.show(*assertion)); err != nil {
			return usageError(c, err)
		}
		v.URL, v.Version = args[0], buildVersion()
		v.Open = func(at string) {
			fmt.Fprintf(c.ErrOrStderr(), "\n  Open this address in a browser on this computer and sign in:\n\n    %s\n\n", at)
		}
		return v.run(c.Context())
	}
	return c
}

// scope adds the flags that say what else is looked at, and what is not.
func (v *visit) scope(flags *pflag.FlagSet) {
	flags.StringArrayVar(&v.Pages, "page", nil, "look at this page that people sign in for, by `URL`; may come several times")
	flags.StringVar(&v.Events, "security-events", "", "look at the `URL` where the identity provider pushes security events")
	flags.StringVar(&v.Origin, "origin", "", "the web page's `origin` that the browser checks speak for (default http://localhost:6274, MCP Inspector)")
	flags.StringSliceVar(&v.Skip, "skip", nil, "leave out checks: `ids` separated by commas; cors leaves out all that begin with cors-")
}

// knowsSkipped refuses to leave out what is no check.
func (v *visit) knowsSkipped() error {
	for _, s := range v.Skip {
		if !doctor.Leaves(s) {
			return fmt.Errorf("--skip %q is no check; docs/doctor.md lists their ids", s)
		}
	}
	return nil
}

// show has the doctor show the assertion in a file, if there is one.
func (v *visit) show(path string) (err error) {
	switch {
	case path == "":
		return nil
	case v.Login || v.Register:
		return errors.New("--assertion is in place of a sign-in; leave --login and --register out")
	}
	v.Assertion, err = readAssertion("--assertion", path)
	return err
}

// run examines the server and prints the report.
func (v visit) run(ctx context.Context) error {
	ctx, stop := untilStopped(ctx)
	defer stop()
	out := &doctor.Printer{Out: v.out, Colour: colour(v.out), Gateway: v.gateway}
	if !v.asJSON {
		out.Heading(v.URL)
		v.Progress = out.Finding
	}
	report, err := doctor.Run(ctx, v.Options)
	if err != nil {
		return exitError{exitNotRun, fmt.Errorf("doctor: %w", err)}
	}
	if v.asJSON {
		report.Gateway = v.gateway
		if err := printJSON(v.out, report); err != nil {
			return exitError{exitNotRun, fmt.Errorf("doctor: %w", err)}
		}
	} else {
		out.Summary(report)
	}
	if !report.OK {
		return exitError{exitFaults, errReported}
	}
	return nil
}

// colour reports whether w is a terminal whose user has not asked for plain
// text (no-color.org).
func colour(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
