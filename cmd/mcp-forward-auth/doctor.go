package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/doctor"
)

// Exit codes of doctor, for scripts.
const (
	exitFaults = 1 // it ran and found faults
	exitNotRun = 2
)

func runDoctor(ctx context.Context, args []string, std streams) error {
	err := examine(ctx, args, std)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	if _, ok := errors.AsType[exitError](err); ok {
		return err
	}
	return exitError{exitNotRun, err}
}

func examine(ctx context.Context, args []string, std streams) error {
	fs := flag.NewFlagSet("doctor", flag.ContinueOnError)
	var opt doctor.Options
	asJSON := fs.Bool("json", false, "print the report as JSON")
	gateway := fs.String("gateway", "", "show what to write for this gateway, by `name`: "+strings.Join(doctor.Gateways(), ", "))
	fs.BoolVar(&opt.Register, "register", false, "register a client, which some servers store")
	fs.BoolVar(&opt.Login, "login", false, "sign in with a browser on this computer and test what comes after; registers a client")
	fs.StringVar(&opt.ClientID, "client-id", "", "sign in as this client `id` instead of registering one")
	fs.StringVar(&opt.Origin, "origin", "", "the web page's `origin` that the browser checks speak for (default http://localhost:6274, MCP Inspector)")
	leaveOut := fs.String("skip", "", "leave out checks: `ids` separated by commas; cors leaves out all that begin with cors-")
	fs.DurationVar(&opt.LoginTimeout, "login-timeout", 5*time.Minute, "how long to wait for the sign-in")

	fs.SetOutput(std.err)
	urls, err := parseAnywhere(fs, args)
	if err != nil {
		return err
	}
	recipe, known := doctor.Recipe(*gateway)
	switch {
	case *gateway != "" && !known:
		return fmt.Errorf("doctor: there is no recipe for %q; there are %s", *gateway, strings.Join(doctor.Gateways(), ", "))
	case len(urls) == 0 && known:
		_, err := io.WriteString(std.out, recipe)
		return err
	case len(urls) != 1:
		return errors.New("doctor: give the URL of one MCP server, such as https://mcp.example.com/mcp")
	}
	opt.URL, opt.Version = urls[0], buildVersion()
	if *leaveOut != "" {
		opt.Skip = strings.Split(*leaveOut, ",")
	}
	opt.Open = func(at string) {
		fmt.Fprintf(std.err, "\n  Open this address in a browser on this computer and sign in:\n\n    %s\n\n", at)
	}
	out := &doctor.Printer{Out: std.out, Colour: colour(std.out), Gateway: *gateway}
	if !*asJSON {
		out.Heading(opt.URL)
		opt.Progress = out.Finding
	}
	report, err := doctor.Run(ctx, opt)
	if err != nil {
		return fmt.Errorf("doctor: %w", err)
	}
	if *asJSON {
		report.Gateway = *gateway
		enc := json.NewEncoder(std.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		if err := enc.Encode(report); err != nil {
			return err
		}
	} else {
		out.Summary(report)
	}
	if !report.OK {
		return exitError{exitFaults, errReported}
	}
	return nil
}

// parseAnywhere parses flags before, between and after the arguments, which it returns.
func parseAnywhere(fs *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		switch err := fs.Parse(args); {
		case err == flag.ErrHelp:
			return nil, err
		case err != nil:
			return nil, errReported
		case fs.NArg() == 0:
			return rest, nil
		}
		rest, args = append(rest, fs.Arg(0)), fs.Args()[1:]
	}
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
