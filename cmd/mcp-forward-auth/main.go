// Command mcp-forward-auth puts OAuth 2.1 in front of MCP servers: it is the
// authorization server, and it answers a gateway's forward-auth question.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// command is one sub-command. run gets the arguments after its name.
type command struct {
	name, usage, about string
	run                func(ctx context.Context, args []string, std streams) error
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}

var commands = []command{
	{"serve", "--config FILE", "run the service", serve},
	{"demo", "[--address IP:PORT]", "run the service with a sample MCP server, on this computer only", runDemo},
	{"doctor", "URL [FLAGS]", "look at a protected MCP server as a client does and name each fault", runDoctor},
	{"check-config", "--config FILE [--as WHO]", "check a configuration file and say what it means, also for one person", checkConfig},
	{"hash-password", "", "read a password from standard input and print its bcrypt hash", hashPassword},
	{"probe", "[--status CODE] URL", "ask a URL and fail unless it answers as wanted, for probes of containers", probe},
	{"version", "", "print the version", printVersion},
}

// exitError ends the program with a code other than 1.
type exitError struct {
	code int
	err  error
}

func (e exitError) Error() string { return e.err.Error() }
func (e exitError) Unwrap() error { return e.err }

// errReported: the mistake is already on standard error.
var errReported = errors.New("reported")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "mcp-forward-auth:", err)
		}
		code := 1
		if e, ok := errors.AsType[exitError](err); ok {
			code = e.code
		}
		os.Exit(code)
	}
}

func run(ctx context.Context, args []string, std streams) error {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.run(ctx, args[1:], std)
			}
		}
		if args[0] != "help" && args[0] != "-h" && args[0] != "--help" {
			usage(std.err)
			return fmt.Errorf("unknown command %q", args[0])
		}
		usage(std.out)
		return nil
	}
	usage(std.err)
	return errReported
}

func usage(w io.Writer) {
	fmt.Fprint(w, "OAuth 2.1 for MCP servers, behind any gateway.\n\nUsage: mcp-forward-auth COMMAND [FLAGS]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-36s %s\n", c.name+" "+c.usage, c.about)
	}
}
