package server

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/dpop"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/grant"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/guard"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/keyset"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/limit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/refusal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/seal"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/token"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/tracing"
)

// lasting is what continues from one service to the next: keys, the guard, revocations,
// limits, the log and the metrics. It is made from the configuration at the start, and
// only from keys that config.NeedsRestart compares.
type lasting struct {
	opt     Options
	log     *slog.Logger
	started *config.Config
	metrics *metrics

	tracer    *tracing.Tracer // nil for none
	audit     *audit.Log
	auditFile *audit.File // nil for the log

	sealing  *seal.Keyring
	keys     *keyset.Set
	persons  token.Persons
	verifier *token.Verifier
	// sessionKeys bind sessions of served MCP servers to their owners.
	sessionKeys [][]byte

	memory *memory
	replay guard.Guard
	// answered are the consent pages and callbacks that were answered.
	answered *guard.Memory
	refused  *refusal.Memory
	// usedProofs are the DPoP proofs of the last minutes.
	usedProofs *dpop.Memory
	// failures and revocations limit clients' failed attempts.
	failures    *limit.Limiter
	revocations grant.Revocations
	inFlight    atomic.Int64 // requests that count for limits.requestsInFlight

	alive services
	ready readiness
	// told is the log of sign-ins of the service in force; nil unless they are shown.
	told atomic.Pointer[flows.Log]
}

// rememberedProofs bounds the memory of DPoP proofs, to some 10 MB: those of five
// minutes with 800 requests a second.
const rememberedProofs = 1 << 18

// newLasting makes the parts that last.
func newLasting(cfg *config.Config, opt Options) (*lasting, error) {
	l := &lasting{
		opt: opt, log: opt.Logger, started: cfg, metrics: newMetrics(opt.Version), refused: refusal.New(opt.Now),
		answered: guard.NewMemory(answeredPages, opt.Now), usedProofs: dpop.NewMemory(rememberedProofs, opt.Now), failures: grant.NewFailures(opt.Now), revocations: grant.NewRevocations(opt.Now),
	}
	l.metrics.watchProofs(l.usedProofs.Len)
	for _, step := range []func() error{l.observe, l.makeKeys, l.remember} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// observe begins the traces and the audit log.
func (l *lasting) observe() (err error) {
	cfg := l.started
	if l.tracer, err = tracing.New(cfg.Tracing, tracing.Options{
		Version: l.opt.Version, Logger: l.log, Failed: l.metrics.traceLosses.Inc, Now: l.opt.Now, Exporter: l.opt.SpanExporter,
	}); err != nil {
		return err
	}
	trail := l.log
	if cfg.AuditFile != "" {
		if l.auditFile, err = audit.OpenFile(cfg.AuditFile, l.log, func(n int) { l.metrics.auditLosses.Add(float64(n)) }); err != nil {
			return err
		}
		// What is asked for by name is written whatever else the log leaves out.
		trail = slog.New(slog.NewJSONHandler(l.auditFile, &slog.HandlerOptions{Level: atMostInfo{l.opt.Level}}))
	}
	l.audit = &audit.Log{
		Logger: trail, Observe: observed(l.metrics, &l.told, l.tracer), Trace: l.tracer.ID(), Bounds: auditBounds(l.opt.Now), Counted: l.metrics.auditHeld.Inc,
	}
	return nil
}

// atMostInfo is another level, but never above info.
type atMostInfo struct{ of slog.Leveler }

// Level implements slog.Leveler.
func (l atMostInfo) Level() slog.Level { return min(l.of.Level(), slog.LevelInfo) }

// makeKeys makes the keys that seal values and those that sign tokens.
func (l *lasting) makeKeys() (err error) {
	secrets, sources := keyMaterial(l.started.Keys)
	if l.opt.KeySource != nil {
		for i := range sources {
			sources[i] = l.opt.KeySource(sources[i])
		}
	}
	if l.sealing, err = seal.NewKeyring(l.opt.Now, secrets...); err != nil {
		return err
	}
	l.metrics.seeds(l.sealing.IDs())
	if l.sessionKeys, err = l.sealing.DeriveAll("relay session", sha256.Size); err != nil {
		return err
	}
	l.keys, err = keyset.New(keyset.Options{
		Sources: sources, Period: l.started.Keys.Rotation, Now: l.opt.Now, TokenLifetime: longestSigned(l.started),
		OnGenerate: func(k keyset.Key, took time.Duration) {
			l.metrics.keyGenerated(took)
			l.audit.Write(context.Background(), audit.Entry{Event: audit.KeyGenerated, KeyID: k.ID})
		},
	})
	if err != nil {
		return err
	}
	l.persons = token.NewPersons(l.sealing)
	l.verifier = &token.Verifier{Keys: l.keys, Persons: l.persons, Now: l.opt.Now}
	return nil
}

// longestSigned is the longest lifetime of anything that is signed under a
// configuration.
func longestSigned(cfg *config.Config) time.Duration {
	longest := max(cfg.Tokens.AccessTokenLifetime, cfg.IdentityHeaders.Signed.Lifetime)
	for _, h := range cfg.Hosts {
		if t := h.ProviderToken; t != nil {
			longest = max(longest, t.Lifetime)
		}
	}
	return longest
}

// remember makes the guard and the list of revocations.
func (l *lasting) remember() (err error) {
	if l.memory, err = newMemory(l.started.Guard, l.opt, l.metrics); err != nil {
		return err
	}
	l.replay = l.memory.guard
	if l.tracer != nil {
		l.replay = tracedGuard{l.replay, l.tracer}
	}
	return nil
}
