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

	// Flags may come before and after the URL.
	var urls []string
	for rest := args; ; {
		fs.SetOutput(std.err)
		if err := fs.Parse(rest); err != nil {
			if err == flag.ErrHelp {
				return err
			}
			return errReported
		}
		if fs.NArg() == 0 {
			break
		}
		urls, rest = append(urls, fs.Arg(0)), fs.Args()[1:]
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
