package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/envoy"
)

// Bounds of every HTTP listener. A forward-auth request carries the client's
// headers, which gateways commonly limit to 32 KB.
const (
	// Header and body share one deadline: a second one would cost another system timer for
	// every forward-auth request, which has no body.
	readTimeout    = 8 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	drainTimeout   = 20 * time.Second
	flushTimeout   = 3 * time.Second
	// How many connections there may be at once. More wait until others are over,
	// and take no memory of this process. With the largest headers, or a form that
	// does not end, one takes some 80 KB.
	mostConnections           = 4096
	mostManagementConnections = 256
	// mostServed replaces mostConnections if MCP servers are served here: each open stream
	// is a connection, of some 50 KB.
	mostServed = 16384
)

// Listeners are where the service is reached. GRPC is nil unless Envoy asks over gRPC.
type Listeners struct {
	Protocol, Management, GRPC net.Listener
	// Redirect is the listener without TLS beside one with TLS; nil for none.
	Redirect net.Listener
}

// bounded returns l with bounds on connections.
func (l Listeners) bounded(protocol places) Listeners {
	l.Protocol, l.Management = protocol.limit(l.Protocol), netutil.LimitListener(l.Management, mostManagementConnections)
	if l.Redirect != nil {
		l.Redirect = netutil.LimitListener(l.Redirect, mostManagementConnections)
	}
	if l.GRPC != nil {
		l.GRPC = netutil.LimitListener(l.GRPC, envoy.MostConnections)
	}
	return l
}

func (l Listeners) close() {
	for _, each := range []net.Listener{l.Protocol, l.Management, l.GRPC, l.Redirect} {
		if each != nil {
			each.Close()
		}
	}
}

// Run listens on the configured addresses and serves until ctx ends, then
// drains. It returns nil after a clean stop.
func (s *Server) Run(ctx context.Context) error {
	var l Listeners
	for _, open := range []struct {
		key, address string
		into         *net.Listener
	}{
		{"listen.http", s.started.Listen.HTTP, &l.Protocol},
		{"listen.management", s.started.Listen.Management, &l.Management},
		{"listen.grpc", s.started.Listen.GRPC, &l.GRPC},
		{"tls.redirect", s.started.TLS.Redirect, &l.Redirect},
	} {
		if open.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", open.address)
		if err != nil {
			l.close()
			return fmt.Errorf("%s: %w", open.key, err)
		}
		*open.into = listener
	}
	return s.Serve(ctx, l)
}

// Serve is Run on listeners that are already open. It closes them.
func (s *Server) Serve(ctx context.Context, l Listeners) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer runtime.KeepAlive(HeapFloor())
	failed := make(chan error, 8)
	report := func(err error) {
		if err != nil && !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, grpc.ErrServerStopped) {
			failed <- err
		}
	}
	l = l.bounded(s.places)
	protocol, management := s.protocolServer(), HTTPServer(s.Management, s.log)
	servers := []*http.Server{protocol, management}
	go func() { report(s.serveProtocol(protocol, l.Protocol)) }()
	go func() { report(management.Serve(l.Management)) }()
	if l.Redirect != nil {
		redirect := HTTPServer(s.by(func(v *service) http.Handler { return v.redirect }), s.log)
		servers = append(servers, redirect)
		go func() { report(redirect.Serve(l.Redirect)) }()
	}
	if l.GRPC != nil {
		go func() { report(s.Envoy.Serve(l.GRPC)) }()
		s.log.Info("serving ext_authz", "grpc", l.GRPC.Addr().String())
	}
	first, end := s.run(work, report)
	defer end()
	s.log.Info("serving", "protocol", l.Protocol.Addr().String(), "management", l.Management.Addr().String(), "resources", len(first.cfg.Hosts))

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.ready.set(false)
	s.log.Info("draining")
	return errors.Join(cause, s.drain(servers))
}

// run does the background work until work ends, and then calls end.
func (s *Server) run(work context.Context, report func(error)) (first *service, end func()) {
	go func() { report(s.keys.Run(work)) }()
	go s.audit.Run(work)
	s.memory.begin(work)
	go s.memory.run(work)
	first = s.begin(work)
	s.ready.set(true)
	return first, func() {
		s.memory.close()
		s.flush()
	}
}

// Embed does the background work until ctx ends, for a program that serves Protocol
// with its own server.
func (s *Server) Embed(ctx context.Context) error {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	failed := make(chan error, 1)
	_, end := s.run(work, func(err error) {
		if err != nil {
			failed <- err
		}
	})
	defer end()
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
	}
	s.ready.set(false)
	return errors.Join(cause, s.drain(nil))
}

// begin starts the background work of the service in force, and of those that take over
// from it.
func (s *Server) begin(work context.Context) *service {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.work = work
	v := s.current.Load()
	v.run(work)
	return v
}

// Reopen has the audit file opened again, after a rotation.
func (s *Server) Reopen() {
	if s.auditFile != nil {
		s.auditFile.Reopen()
	}
}

// flush writes and sends what is queued, within time limits.
func (s *Server) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	s.tracer.Close(ctx)
	s.audit.Flush(ctx)
	if s.auditFile != nil {
		s.auditFile.Close()
	}
}

// drain lets requests in progress finish, within time limits.
func (s *Server) drain(servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	for _, v := range s.alive.list() {
		if v.relay != nil {
			v.relay.Drain()
		}
	}
	context.AfterFunc(ctx, s.Envoy.Stop)
	s.Envoy.GracefulStop()
	var failed error
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
			failed = errors.Join(failed, fmt.Errorf("draining: %w", err))
		}
	}
	for _, v := range s.alive.list() {
		v.held.Close(ctx) // a provider's answers are stored before this process ends
	}
	return failed
}

// HeapFloor returns memory to keep while requests are served. The collector runs
// when the heap has grown by its own size. Idle that is two megabytes, so it
// would run every few hundred requests, for a third of their cost. Memory that
// is never touched makes the heap larger for it, and takes nothing of the machine.
//
// It comes in pieces because the runtime clears, and so touches, all of an object that
// begins in memory of the heap that was used before.
func HeapFloor() [][]byte {
	floor := make([][]byte, 16)
	for i := range floor {
		floor[i] = make([]byte, 1<<20)
	}
	return floor
}

// HTTPServer returns a server of h with the bounds of all our listeners.
func HTTPServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: readTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
