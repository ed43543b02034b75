// Package bridge serves over HTTP an MCP server that speaks stdio. It starts the
// server's command, one process for each session, person or for all, and passes
// JSON-RPC messages between the processes and the clients of streamable HTTP. It
// runs in a process of its own, because the process with the keys must not start programs.
//
// A process gets no variable of the environment that is not listed, has a process
// group of its own, and is ended with everything that it started.
package bridge

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Sharing says who shares a process.
type Sharing string

// The ways of sharing.
const (
	// PerSession: a process for each session of a client. Clients of 2026-07-28 have no
	// sessions and share the process of their person.
	PerSession Sharing = "session"
	// PerUser: a process for each person, by the signed identity header.
	PerUser Sharing = "user"
	// Shared: one process for all, for servers that keep no state about their callers.
	Shared Sharing = "shared"
)

// Settings are the command and its limits. Check fills in zero values.
type Settings struct {
	// Command and its arguments. It is run without a shell.
	Command []string
	// Env are variables that processes get besides Basic: NAME passes on the bridge's
	// own, NAME=VALUE sets one.
	Env []string
	// Dir is where processes run, "" for where the bridge runs.
	Dir string
	// Sharing says who shares a process.
	Sharing Sharing
	// Path of the endpoint.
	Path string
	// Issuer and Resource turn on the check of the signed identity header: the public
	// origin of the service that signs it, and the MCP server's public URL. KeysURL is
	// where the keys are, if not where the issuer's metadata says.
	Issuer, Resource, KeysURL string
	// IdentityHeader is the name of the signed identity header.
	IdentityHeader string

	MaxProcesses  int           // at the same time
	MaxLine       int           // bytes of one message, in both directions
	StartRate     float64       // processes a second
	IdleTimeout   time.Duration // until a process without requests is ended
	StartTimeout  time.Duration // until a process has answered initialize
	Grace         time.Duration // after the end of its input, and again after SIGTERM
	MaxFiles      uint64        // open files of each process; 0 leaves the system's bound
	MaxMemory     uint64        // bytes of address space of each process; 0 leaves the system's bound
	LogRate       int           // lines a second of a process's standard error in the log
	AllowedOrigin []string      // of web pages, where no identity is checked
	AllowedHosts  []string      // names in Host, where no identity is checked and the listener is local
}

// Basic are the variables that every process gets, where the bridge has them.
var Basic = []string{"PATH", "HOME", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"}

// The bounds that are used where nothing is said.
const (
	defaultProcesses = 64
	defaultLine      = 4 << 20
	defaultStartRate = 10
	defaultIdle      = 10 * time.Minute
	defaultStart     = time.Minute
	defaultGrace     = 2 * time.Second
	defaultLogRate   = 20
)

// Check fills in zero values, and returns all mistakes.
func (s *Settings) Check() error {
	setIfZero(&s.Sharing, PerSession)
	setIfZero(&s.Path, "/mcp")
	setIfZero(&s.IdentityHeader, "X-Auth-Request-Identity")
	setIfZero(&s.MaxProcesses, defaultProcesses)
	setIfZero(&s.MaxLine, defaultLine)
	setIfZero(&s.StartRate, defaultStartRate)
	setIfZero(&s.IdleTimeout, defaultIdle)
	setIfZero(&s.StartTimeout, defaultStart)
	setIfZero(&s.Grace, defaultGrace)
	setIfZero(&s.LogRate, defaultLogRate)
	var wrong []error
	say := func(bad bool, format string, args ...any) {
		if bad {
			wrong = append(wrong, fmt.Errorf(format, args...))
		}
	}
	if len(s.Command) == 0 {
		wrong = append(wrong, errors.New("name the command after --"))
	} else if _, err := exec.LookPath(s.Command[0]); err != nil {
		wrong = append(wrong, fmt.Errorf("the command cannot be run: %w", err))
	}
	say(s.Sharing != PerSession && s.Sharing != PerUser && s.Sharing != Shared, `--share %q is none of "session", "user" and "shared"`, s.Sharing)
	say(s.Sharing == PerUser && s.Issuer == "", "--share user needs --issuer and --resource: the bridge learns who asks from the signed identity header")
	say((s.Issuer == "") != (s.Resource == ""), "--issuer and --resource go together")
	say(s.Issuer != "" && !origin(s.Issuer), `--issuer %q is not an origin; write the public one, such as "https://mcp.example.com"`, s.Issuer)
	say(s.KeysURL != "" && s.Issuer == "", "--keys-url goes with --issuer")
	say(!strings.HasPrefix(s.Path, "/"), "--path %q does not begin with /", s.Path)
	say(s.MaxProcesses < 1, "--max-processes is less than 1")
	say(s.MaxLine < 1<<10, "--max-message is less than 1024 bytes")
	say(s.IdleTimeout < 0 || s.StartTimeout < 0 || s.Grace < 0 || s.StartRate < 0, "a time or rate is negative")
	for _, e := range s.Env {
		name, _, set := strings.Cut(e, "=")
		_, there := os.LookupEnv(name)
		say(name == "", "--env %q has no name", e)
		say(name != "" && !set && !there, "--env %s: the bridge has no such variable; write %s=VALUE to set it", name, name)
	}
	if s.Dir != "" {
		info, err := os.Stat(s.Dir)
		say(err != nil || !info.IsDir(), "--dir %s is no directory", s.Dir)
	}
	return errors.Join(wrong...)
}

func setIfZero[T comparable](to *T, value T) {
	if *to == *new(T) {
		*to = value
	}
}

func origin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.Path == "" && u.RawQuery == "" && u.User == nil
}

// environment is what a process gets.
func (s *Settings) environment() []string {
	var env []string
	for _, name := range Basic {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	for _, e := range s.Env {
		if name, _, set := strings.Cut(e, "="); !set {
			e = name + "=" + os.Getenv(name)
		}
		env = append(env, e)
	}
	return env
}
