package server

import (
	"context"
	"net/http"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/config"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/filter"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/forwardauth"
)

// mostServices bounds how many services are kept for open streams. Beyond it, those
// streams of the oldest service that only wait for messages from a server are ended,
// as when the process drains; clients open new ones.
const mostServices = 16

// Reload builds a service of cfg beside the one in force and replaces it between two
// requests. Requests in progress are answered by the service that they began with. If
// Reload returns an error, the previous service stays in force.
func (s *Server) Reload(cfg *config.Config) error {
	s.changing.Lock()
	defer s.changing.Unlock()
	if err := Check(cfg); err != nil {
		return err
	}
	next, err := s.build(cfg, s.current.Load())
	if err != nil {
		return err
	}
	return s.takeOver(next)
}

// takeOver puts next in force. The caller holds s.changing, or is New.
func (s *Server) takeOver(next *service) error {
	before := s.current.Load()
	for _, begin := range next.begins {
		if err := begin(); err != nil {
			return err
		}
	}
	if next.relay != nil {
		s.places.serve()
	}
	s.warn(next, before)
	if before == nil {
		s.sayHostsFiles(next.cfg, nil)
	} else {
		s.sayHostsFiles(next.cfg, before.cfg)
	}
	next.inside.Store(1)
	s.alive.add(next)
	if s.work != nil {
		next.run(s.work)
	}
	s.opt.Level.Set(next.cfg.LogLevel)
	s.told.Store(next.recent)
	s.current.Store(next)
	if before == nil {
		return nil
	}
	before.retire()
	s.metrics.forget(before.table, next.table)
	if all := s.alive.list(); len(all) > mostServices && all[0].relay != nil {
		all[0].relay.Drain()
	}
	return nil
}

// warn logs the warnings of a configuration that were not logged before.
func (s *Server) warn(next, before *service) {
	for _, w := range next.cfg.Warnings {
		if before == nil || !slices.Contains(before.cfg.Warnings, w) {
			s.log.Warn("the configuration should be another way", "key", w.Path, "problem", w.Problem)
		}
	}
}

// enter returns the service in force. The caller calls leave when it is done.
func (s *Server) enter() *service {
	for {
		v := s.current.Load()
		v.inside.Add(1)
		if s.current.Load() == v { // so it was not retired before it was counted
			return v
		}
		v.leave()
	}
}

// by returns a handler of the service in force at each request.
func (s *Server) by(handler func(*service) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.enter()
		defer v.leave()
		handler(v).ServeHTTP(w, r)
	})
}

// degraded says what does not work.
func (s *Server) degraded() []string {
	v := s.enter()
	defer v.leave()
	reasons := append(s.reloads.trouble(), v.trouble()...)
	if reason := s.memory.degraded(); reason != "" {
		reasons = append([]string{reason}, reasons...)
	}
	return reasons
}

// inForce answers Envoy with the service in force.
type inForce struct{ *Server }

// Decide implements envoy.Decider.
func (f inForce) Decide(ctx context.Context, q *forwardauth.Request) forwardauth.Decision {
	v := f.enter()
	defer v.leave()
	return v.decisions.Decide(ctx, q)
}

// Named implements envoy.Naming.
func (f inForce) Named() envoy.Headers { return f.current.Load().named }

// Traced reports whether decisions are traced.
func (f inForce) Traced() bool { return f.tracer != nil }

func (f inForce) reads(ctx context.Context, q *forwardauth.Request) (filter.View, bool, bool) {
	v := f.enter()
	defer v.leave()
	return v.decisions.Reads(ctx, q)
}
