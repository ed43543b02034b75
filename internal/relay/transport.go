package relay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the connections to an MCP server.
const (
	dialTimeout = 5 * time.Second
	// Node.js and uvicorn close a connection that was idle for five seconds, and a request that
	// is on its way then is lost.
	idleConnection   = 4 * time.Second
	idleConnections  = 128 // of each server
	maxHeaderBytes   = 64 << 10
	readBuffer       = 2 << 10
	writeTimeout     = 30 * time.Second
	copyBuffer       = 8 << 10
	mostTLSHandshake = 5 * time.Second
)

// transports makes one transport for each set of certificate authorities; the system's
// have one too.
type transports struct {
	proxy *url.URL
	dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil is the network
	by    map[string]http.RoundTripper
}

func (t *transports) to(authorities []byte) http.RoundTripper {
	if known := t.by[string(authorities)]; known != nil {
		return known
	}
	dial := t.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	made := &http.Transport{
		Proxy:       http.ProxyURL(t.proxy), // never the environment's
		DialContext: dial, TLSHandshakeTimeout: mostTLSHandshake,
		MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: idleConnection,
		MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true, // the bytes pass as they are
		ReadBufferSize: readBuffer, WriteBufferSize: readBuffer,
		Protocols: new(http.Protocols),
	}
	made.Protocols.SetHTTP1(true)
	if len(authorities) > 0 {
		made.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		made.TLSClientConfig.RootCAs.AppendCertsFromPEM(authorities) // config has checked it
	}
	t.by[string(authorities)] = made
	return made
}

// buffers are the buffers that answers are copied through. An open stream holds one.
type buffers struct{ pool sync.Pool }

// Get implements httputil.BufferPool.
func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[copyBuffer]byte); ok {
		return p[:]
	}
	return make([]byte, copyBuffer)
}

// Put implements httputil.BufferPool.
func (b *buffers) Put(p []byte) { b.pool.Put((*[copyBuffer]byte)(p)) }

// Causes for which this service itself ends an exchange.
var (
	errIdle     = errors.New("the server sent nothing for too long")
	errDraining = errors.New("this service stops")
)

// idle calls a function if nothing was read from the server for too long.
type idle struct {
	timer *time.Timer
	most  time.Duration
	over  atomic.Bool
}

func newIdle(most time.Duration, expired func()) *idle {
	i := &idle{most: most}
	i.timer = time.AfterFunc(most, func() {
		i.over.Store(true)
		expired()
	})
	return i
}

func (i *idle) expired() bool { return i.over.Load() }

func (i *idle) stop() { i.timer.Stop() }

// again starts the time again, because something was read.
func (i *idle) again() { i.timer.Reset(i.most) }

// answerWriter writes the client's answer. A write that takes longer than writeTimeout
// ends the answer: otherwise a client that does not read would hold it forever.
type answerWriter struct {
	http.ResponseWriter
	conn  *http.ResponseController
	strip *stripped
	done  bool // all of the answer was written
}

// WriteHeader implements http.ResponseWriter.
func (w *answerWriter) WriteHeader(status int) {
	w.deadline()
	if status < http.StatusOK { // ModifyResponse does not see 1xx answers of the server
		w.strip.answer(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *answerWriter) Write(p []byte) (int, error) {
	w.deadline()
	return w.ResponseWriter.Write(p)
}

func (w *answerWriter) deadline() { _ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)) }

// Unwrap lets http.ResponseController reach the connection.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
