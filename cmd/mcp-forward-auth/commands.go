package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/demo"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/policy/whatif"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/server"
)

// version is set by the linker in releases.
var version string

// buildVersion is the release, or what the Go tool knows of the source.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// parse parses args and wants no others.
func parse(fs *flag.FlagSet, args []string, std streams) error {
	fs.SetOutput(std.err)
	if err := fs.Parse(args); err != nil {
		if err == flag.ErrHelp {
			return err
		}
		return errReported
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s: unexpected argument %q", fs.Name(), fs.Arg(0))
	}
	return nil
}

// load reads the file that --config names and reports every mistake in it.
func load(name string, args []string, std streams) (*config.Config, error) {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	path := fs.String("config", "", "configuration `file` (YAML)")
	if err := parse(fs, args, std); err != nil {
		return nil, err
	}
	if *path == "" {
		return nil, fmt.Errorf("%s: --config FILE is required", name)
	}
	return loadFile(*path)
}

// loadFile reads and checks the file at path, for serve and check-config alike.
// Each line of the error names the file.
func loadFile(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if _, mistakes := errors.AsType[conf.Errors](err); err != nil && !mistakes {
		return nil, err // the file cannot be read, and the error names it
	}
	if err == nil {
		err = server.Check(cfg)
	}
	if err != nil {
		return nil, inFile{path, err}
	}
	return cfg, nil
}

// inFile is what is wrong with a configuration file.
type inFile struct {
	path string
	err  error
}

func (f inFile) Error() string {
	return f.path + ": " + strings.ReplaceAll(f.err.Error(), "\n", "\n"+f.path+": ")
}

func (f inFile) Unwrap() error { return f.err }

func serve(ctx context.Context, args []string, std streams) error {
	cfg, err := load("serve", args, std)
	if err != nil {
		return err
	}
	s, err := server.New(cfg, server.Options{Logger: logger(std.out, cfg.LogLevel), Version: buildVersion()})
	if err != nil {
		return err
	}
	// Without this the signal would end the process.
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	go func() {
		for {
			select {
			case <-hangup:
				s.Reopen()
			case <-ctx.Done():
				return
			}
		}
	}()
	return s.Run(ctx)
}

func runDemo(ctx context.Context, args []string, std streams) error {
	fs := flag.NewFlagSet("demo", flag.ContinueOnError)
	address := fs.String("address", "", "loopback `ip:port` of the gateway (default 127.0.0.1:8970)")
	verbose := fs.Bool("v", false, "log what the service does")
	if err := parse(fs, args, std); err != nil {
		return err
	}
	level := slog.LevelWarn
	if *verbose {
		level = slog.LevelDebug
	}
	return demo.Run(ctx, demo.Options{Address: *address, Logger: logger(std.err, level), Version: buildVersion(), Out: std.out})
}

func checkConfig(_ context.Context, args []string, std streams) error {
	fs := flag.NewFlagSet("check-config", flag.ContinueOnError)
	path := fs.String("config", "", "configuration `file` (YAML)")
	as := fs.String("as", "", "say what the policy lets somebody have: `user=…,email=…,groups=a|b,provider=…,client=…`, each as far as it matters; a backslash before , and |")
	at := fs.String("resource", "", "`URL` of the MCP server that --as is about")
	scopes := fs.String("scopes", "", "`scopes` that --as is about, separated by commas; without it those that the configuration names")
	asJSON := fs.Bool("json", false, "print the answer to --as as JSON")
	if err := parse(fs, args, std); err != nil {
		return err
	}
	if *path == "" {
		return errors.New("check-config: --config FILE is required")
	}
	cfg, err := loadFile(*path)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintf(std.err, "warning: %s: %s\n", *path, w)
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["as"]:
		return tryPolicy(cfg, whatif.Question{As: *as, Resource: *at, Scopes: *scopes}, *asJSON, std)
	case given["resource"] || given["scopes"] || given["json"]:
		return errors.New(`check-config: --resource, --scopes and --json go with --as; --as "" is somebody of whom nothing is known`)
	}
	_, err = io.WriteString(std.out, cfg.Summary())
	return err
}

func hashPassword(_ context.Context, args []string, std streams) error {
	fs := flag.NewFlagSet("hash-password", flag.ContinueOnError)
	argon := fs.Bool("argon2id", false, "an argon2id hash, of 19 MiB and two passes, instead of a bcrypt one")
	if err := parse(fs, args, std); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(std.in, 1<<10)).ReadString('\n')
	if err != nil && err != io.EOF {
		return err
	}
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return fmt.Errorf("hash-password: no password on standard input; try  printf %%s 'secret' | mcp-forward-auth hash-password")
	}
	if *argon {
		_, err = fmt.Fprintln(std.out, argon2id(password))
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), 12)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, string(hash))
	return err
}

// argon2id returns a hash in the PHC string format, with the parameters of
// OWASP's password storage cheat sheet.
func argon2id(password string) string {
	const memory, passes, threads, size = 19456, 2, 1, 32
	salt := make([]byte, 16)
	rand.Read(salt)
	b64 := base64.RawStdEncoding.EncodeToString
	sum := argon2.IDKey([]byte(password), salt, passes, memory, threads, size)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memory, passes, threads, b64(salt), b64(sum))
}

func printVersion(_ context.Context, args []string, std streams) error {
	if err := parse(flag.NewFlagSet("version", flag.ContinueOnError), args, std); err != nil {
		return err
	}
	_, err := fmt.Fprintln(std.out, "mcp-forward-auth", buildVersion())
	return err
}

func logger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}
