package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
)

// lookEvery is how often Follow looks whether the configuration changed.
const lookEvery = time.Second

// Source is a configuration that may change; *config.Reader is the one there is.
type Source interface {
	// Load reads it. What is wrong with it is an error.
	Load() (*config.Config, error)
	// Changed reports whether it differs from what Load returned.
	Changed() bool
}

// Follow reads the configuration again when it changes and at each signal, until ctx
// ends. If it has a mistake, the previous one stays in force. At a signal the audit
// file is opened again, too.
func (s *Server) Follow(ctx context.Context, from Source, signals <-chan os.Signal) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			s.Reopen()
		case <-tick.C:
			if !from.Changed() {
				continue
			}
		}
		s.ReloadFrom(from)
	}
}

// ReloadFrom reads the configuration, puts it in force if it is valid, and reports the
// outcome in the log, the metrics and /readyz.
func (s *Server) ReloadFrom(from Source) {
	began := time.Now()
	cfg, err := from.Load()
	if err == nil {
		err = s.Reload(cfg)
	}
	s.reloads.note(s.opt.Now(), cfg, err)
	if err != nil {
		s.metrics.configGood.Set(0)
		s.audit.Write(context.Background(), audit.Entry{Event: audit.ConfigBroken, Cause: err})
		for _, problem := range problemsOf(err, mostProblems) {
			s.log.Error("the configuration has a mistake: the one before stays in force", "problem", problem)
		}
		return
	}
	s.metrics.loaded(s.opt.Now(), cfg)
	s.audit.Write(context.Background(), audit.Entry{Event: audit.ConfigLoaded})
	s.log.Info("the configuration was read again, and is in force", "resources", len(cfg.Hosts), "took", time.Since(began).String())
	for _, key := range cfg.Pending {
		s.log.Warn("the configuration says something else since the start, which takes effect at the next start", "key", key)
	}
}

// mostProblems bounds how many mistakes of one configuration are logged.
const mostProblems = 20

// problemsOf lists the mistakes in an error, at most so many, and how many more there are.
func problemsOf(err error, most int) []string {
	lines := strings.Split(err.Error(), "\n")
	if found, ok := errors.AsType[conf.Errors](err); ok {
		lines = lines[:0]
		for _, m := range found {
			lines = append(lines, m.String())
		}
	}
	if more := len(lines) - most; more > 0 {
		lines = append(lines[:most:most], fmt.Sprintf("and %d more", more))
	}
	return lines
}

// reloads is the outcome of the last time that the configuration was read.
type reloads struct {
	mu      sync.Mutex
	good    time.Time // when the configuration in force was read
	problem string    // of the last attempt, "" for none
	pending []string
	left    []config.HostsFile // left out
}

func (r *reloads) note(now time.Time, cfg *config.Config, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.problem = strings.Join(problemsOf(err, 1), ", ")
		return
	}
	r.good, r.problem, r.pending, r.left = now, "", cfg.Pending, leftOut(cfg)
}

// leftOut are the hosts files that have a mistake.
func leftOut(cfg *config.Config) []config.HostsFile {
	return slices.DeleteFunc(slices.Clone(cfg.HostsFiles), func(f config.HostsFile) bool { return len(f.Mistakes) == 0 })
}

// sayHostsFiles logs new problems of hosts files, and which files are valid again.
func (s *Server) sayHostsFiles(now, before *config.Config) {
	said := map[string]string{}
	if before != nil {
		for _, f := range leftOut(before) {
			said[f.Path] = f.Mistakes.Error()
		}
	}
	for _, f := range now.HostsFiles {
		was, broken := said[f.Path], f.Mistakes.Error()
		switch {
		case broken == was:
		case broken == "":
			s.log.Info("a hosts file is good again", "file", f.Path, "hosts", f.Hosts)
		default:
			for _, problem := range problemsOf(f.Mistakes, mostProblems) {
				s.log.Error("a hosts file has a mistake, and its hosts are left out", "file", f.Path, "problem", problem)
			}
		}
	}
}

// trouble says what an operator has to do about the configuration.
func (r *reloads) trouble() (all []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.problem != "" {
		all = append(all, fmt.Sprintf("the configuration has a mistake, and the one read at %s is in force: %s", r.good.UTC().Format(time.RFC3339), r.problem))
	}
	if len(r.pending) > 0 {
		all = append(all, "the configuration says something else since the start, which takes effect at the next start: "+strings.Join(r.pending, ", "))
	}
	for i, f := range r.left {
		if i == mostLeft {
			all = append(all, fmt.Sprintf("and %d more hosts files", len(r.left)-i))
			break
		}
		all = append(all, fmt.Sprintf("hosts file %s is left out: %s", f.Path, strings.Join(problemsOf(f.Mistakes, 1), ", ")))
	}
	return all
}

// mostLeft bounds how many hosts files a text names.
const mostLeft = 10

// makeConfig makes the metrics of the configuration itself.
func (m *metrics) makeConfig() {
	m.configGood = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_config_last_reload_successful", Help: "1 if the configuration that was read last is in force; 0 while it has a mistake and the previous one stays in force.",
	})
	m.configTime = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was read, in Unix seconds.",
	})
	m.configPending = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_config_restart_pending", Help: "Keys of the configuration that have changed since the start and take effect at the next start.",
	})
	m.hostsFiles = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_hosts_files", Help: "Files of proxy.hostsFiles that are in force.",
	})
	m.hostsBroken = m.make.LastingGauge(prometheus.GaugeOpts{
		Name: "mcp_forward_auth_hosts_files_broken", Help: "Files of proxy.hostsFiles with a mistake, whose hosts are left out.",
	})
}

// loaded notes that a configuration is in force.
func (m *metrics) loaded(now time.Time, cfg *config.Config) {
	m.configGood.Set(1)
	m.configTime.Set(float64(now.Unix()))
	m.configPending.Set(float64(len(cfg.Pending)))
	broken := len(leftOut(cfg))
	m.hostsFiles.Set(float64(len(cfg.HostsFiles) - broken))
	m.hostsBroken.Set(float64(broken))
}
